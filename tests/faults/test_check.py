"""`queuectl check [--repair]` against every damage that we could think of.

Each damage is done to a spool that has a job in every state. It must be found where it is, by a
look that changes nothing; be mended if that loses nothing, or left for a person; and then be gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.harness import fuzz
from helpers.processes import PROGRAM
from helpers.spool_files import DIRECTORIES

from queuectl import Queue, clock
from queuectl.errors import QueuectlError
from queuectl.record import retry
from queuectl.record.job import Attempt
from queuectl.spool import integrity
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim, Ready
from queuectl.spool.spool import Spool

RECORD = '{"id": "%s", "command": "true", "created_at": "2026-01-01T00:00:00Z"%s}\n'
TORN = '{"command": "tr'


def _record(job_id: str, **fields: Any) -> str:
    return RECORD % (job_id, "".join(f", {json.dumps(k)}: {json.dumps(v)}"
                                     for k, v in fields.items()))  # fmt: skip


@pytest.fixture
def furnished(queue: Queue, root: Path) -> Queue:
    """A whole spool: a job in every state, one of them running, logs and reasons."""
    fuzz.private(root / "pending" / "waits.json", _record("waits"))
    for state, job_id, outcome in (("done", "done", "ok"), ("failed", "fails", "failed"),
                                   ("dead", "gone", "failed")):  # fmt: skip
        entry = {"attempt": 1, "outcome": outcome, "log": f"logs/{job_id}.1.log"}
        text = _record(job_id, attempts=1, history=[entry], run_at="2100-01-01T00:00:00Z")
        fuzz.private(root / state / f"{job_id}.json", text)
        fuzz.private(root / "logs" / f"{job_id}.1.log", f"output of {job_id}\n")
    fuzz.private(root / "dead" / "junk.json", b"no job")
    fuzz.private(root / "dead" / "junk.error", "not a JSON object\n")
    return queue


def _claimed(spool: Spool, job_id: str) -> tuple[Holder, Claim]:
    """Claim a new job as a worker does."""
    holder = Holder(spool)
    fuzz.private(Path(spool.layout.job("pending", job_id)), _record(job_id))
    sight = spool.reader.look("pending", f"{job_id}.json")
    assert isinstance(sight, Ready)
    claim = spool.claims.take(holder.name, "pending", f"{job_id}.json", sight)
    assert claim is not None
    return holder, claim


def _die(holder: Holder) -> None:
    os.close(holder._lock)


def _lost(spool: Spool) -> Path:
    """A worker that died while its job ran, with all that it leaves."""
    holder, claim = _claimed(spool, "lost")
    for ending in ("run", "cancel"):
        fuzz.private(Path(spool.layout.claim(claim.worker, claim.id, 1, ending)))
    _die(holder)
    return Path(claim.path).parent


def _concluded(spool: Spool) -> Path:
    holder, claim = _claimed(spool, "over")
    entry = Attempt(attempt=1, outcome="ok", worker=claim.worker)
    record, _ = retry.next_record(claim.job, entry, spool.settings.current().retry_policy,
                               now=clock.now(), draw=0.0)  # fmt: skip
    spool.disk.overwrite(claim.path, record.encode(), staged=spool.layout.staged())
    _die(holder)
    return Path(claim.path).parent


def _torn_claim(spool: Spool) -> Path:
    holder, claim = _claimed(spool, "torn")
    fuzz.private(Path(claim.path), TORN)
    _die(holder)
    return Path(claim.path).parent


def _lockless(spool: Spool) -> Path:
    directory = _lost(spool)
    for path in Path(spool.layout.workers).iterdir():
        path.unlink()
    return directory


def _idle(spool: Spool) -> Path:
    holder = Holder(spool)
    _die(holder)
    return Path(spool.layout.worker(holder.name, "lock"))


def _two(first: str, second: str, *, one_inode: bool) -> Callable[[Spool], Path]:
    def make(spool: Spool) -> Path:
        one, other = (Path(spool.layout.root) / s / "twice.json" for s in (first, second))
        fuzz.private(other, _record("twice", tag="later"))
        os.link(other, one) if one_inode else fuzz.private(one, _record("twice", tag="earlier"))
        return one

    return make


def _odd_claim(ending: str, mode: int) -> Callable[[Spool], Path]:
    def make(spool: Spool) -> Path:  # beside the claim of one who lives
        _, claim = _claimed(spool, "runs")
        path = Path(claim.path).with_name(ending)
        if not path.exists():
            fuzz.private(path)
        path.chmod(mode)
        return path

    return make


class Damage(NamedTuple):
    """What is wrong, how it comes about, what `check` calls it, and whether it is mended.

    Mending may enter an outcome into a record, which `rewrites` its bytes.
    """

    name: str
    make: Callable[[Spool], Path]
    kind: str
    mended: bool
    rewrites: bool = False


def _odd(*numbers: int) -> str:
    return _record("odd", history=[{"attempt": n, "outcome": "failed"} for n in numbers])


ANY = "any"  # `check` may call it as it likes
DAMAGES = [
    *(Damage(f"one inode in {one}, {two}", _two(one, two, one_inode=True), "two places", True)
      for one, two in (("failed", "done"), ("done", "dead"), ("pending", "done"))),
    *(Damage(f"two jobs in {one}, {two}", _two(one, two, one_inode=False), "two places", True)
      for one, two in (("failed", "done"), ("failed", "dead"))),
    *(Damage(f"stray in {d}", fuzz.plant_file(f"{d}/notes.txt"), "stray", False)
      for d in ("pending", "processing", "failed", "done", "dead", "logs", "workers")),
    *(Damage(f"hidden in {d}", fuzz.plant_file(f"{d}/.swp"), "stray", False)
      for d in ("failed", "done", "dead")),
    *(Damage(f"no id in {d}", fuzz.plant_file(f"{d}/a b.json", _record("x")), "stray", False)
      for d in ("failed", "done", "dead")),
    Damage("stray beside a claim", _odd_claim("notes.txt", 0o600), "stray", False),
    Damage("log of no job", fuzz.plant_file("logs/nobody.3.log"), "orphan", False),
    Damage("reason of no job", fuzz.plant_file("dead/nobody.error"), "orphan", False),
    Damage("worker died while its job ran", _lost, "leftover claims", True, rewrites=True),
    Damage("worker died with an outcome written", _concluded, "leftover claims", True),
    Damage("worker died with a torn record", _torn_claim, "leftover claims", True),
    Damage("claims without a lock", _lockless, "leftover claims", True, rewrites=True),
    Damage("worker died idle", _idle, "leftover", True),
    *(OLD := [
        Damage("leftover of 37 hours", fuzz.plant_file("tmp/1.x"), "leftover", False),
        Damage("old link in tmp", fuzz.plant_link("tmp/x"), "leftover", False),
    ]),
    *(Damage(f"{d} is open", fuzz.plant_mode(d, 0o777), "mode", True) for d in DIRECTORIES),
    *(Damage(f"{path} is open", fuzz.plant_mode(path, mode), "mode", True)
      for path, mode in (("failed/fails.json", 0o640), ("done/done.json", 0o666),
                         ("logs/done.1.log", 0o644), ("workers/w.log", 0o644), ("tmp/1.x", 0o604),
                         ("queue.toml", 0o666), ("queue.toml.lock", 0o666))),
    Damage("claim is open", _odd_claim("runs.1.json", 0o644), "mode", True),
    Damage("run file is open", _odd_claim("runs.1.run", 0o644), "mode", True),
    *(Damage(f"unreadable in {d}", fuzz.plant_file(f"{d}/torn.json", TORN), "unreadable", True)
      for d in ("failed", "done")),
    Damage("no reason", fuzz.plant_file("dead/torn.json", b"\x00\xff"), "no reason", True),
    *(Damage(f"link at {path}", fuzz.plant_link(path), "stray", False)
      for path in ("pending/x.json", "dead/x.error",
                   "processing/x", "logs/done.1.log", "workers/x.json", "workers/x.lock",
                   "workers/x.stop", "queue.toml.lock")),
    *(Damage(f"link in {d}", fuzz.plant_link(f"{d}/x.json"), "unreadable", True)
      for d in ("failed", "done")),
    Damage("link in dead", fuzz.plant_link("dead/x.json"), "no reason", True),
    *(Damage(f"history {numbers}", fuzz.plant_file("done/odd.json", _odd(*numbers)), ANY, False)
      for numbers in ((1, 1), (2, 1))),
]  # fmt: skip


@pytest.fixture
def spoilt(
    furnished: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Damage], tuple[Spool, Path]]:
    fuzz.sentinels(tmp_path / "outside")

    def make(damage: Damage) -> tuple[Spool, Path]:
        assert integrity.check(furnished.spool, repair=False) == []
        path = damage.make(furnished.spool)
        if damage in OLD:  # nothing can set the time of a file's last change
            monkeypatch.setattr(clock, "now", lambda: time.time() + 37 * 3600)
        return furnished.spool, path

    return make


each_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.name)
each_mended = pytest.mark.parametrize(
    "damage", [each for each in DAMAGES if each.mended], ids=lambda each: each.name
)


@each_damage
def test_damage_is_found_where_it_is(
    damage: Damage, spoilt: Callable[..., Any], figures: Callable[..., None]
) -> None:
    spool, path = spoilt(damage)

    found = integrity.check(spool, repair=False)

    figures("damages that check is shown", damages=1, found=int(bool(found)))
    there = [f for f in found if f.path in (str(path), str(path.parent))]
    of_kind = [f for f in there if damage.kind in (f.damage, ANY)]
    assert of_kind, f"found is only {found}"
    assert (of_kind[0].remedy is not None) == damage.mended
    assert all(f.problem and not f.repaired for f in found)


@each_damage
def test_looking_changes_nothing(
    damage: Damage, spoilt: Callable[..., Any], tmp_path: Path
) -> None:
    spool, _ = spoilt(damage)
    before = fuzz.snapshot(tmp_path)

    integrity.check(spool, repair=False)

    assert fuzz.differences(before, fuzz.snapshot(tmp_path)) == []


@each_mended
def test_what_is_mended_is_whole_again(damage: Damage, spoilt: Callable[..., Any]) -> None:
    spool, path = spoilt(damage)

    said = integrity.check(spool, repair=True)

    assert any(f.repaired for f in said if f.path == str(path) and f.damage == damage.kind)
    left = integrity.check(spool, repair=False)
    assert [f for f in left if f.remedy is not None] == []


@each_damage
def test_repair_loses_no_byte_and_touches_nothing_outside(
    damage: Damage, spoilt: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    spool, _ = spoilt(damage)
    before, outside = fuzz.contents(root), fuzz.snapshot(tmp_path / "outside")

    integrity.check(spool, repair=True)

    lost = before - fuzz.contents(root)
    if damage.rewrites:
        assert sum(lost.values()) == 1
        assert b'"id": "lost"' in next(iter(lost))
        assert spool.reader.read(spool.reader.find("lost").path)[0].command == "true"
    else:
        assert not lost
    assert fuzz.differences(outside, fuzz.snapshot(tmp_path / "outside")) == []


@each_damage
def test_a_second_repair_has_nothing_left_to_do(
    damage: Damage, spoilt: Callable[..., Any], root: Path
) -> None:
    spool, _ = spoilt(damage)
    integrity.check(spool, repair=True)
    before = fuzz.snapshot(root)

    said = integrity.check(spool, repair=True)

    assert [f for f in said if f.repaired or f.failure] == []
    assert fuzz.differences(before, fuzz.snapshot(root)) == []


@pytest.mark.parametrize(
    "make",
    [
        fuzz.plant_file("tmp/1.x", hours=35),
        fuzz.plant_file("pending/.swp"),
        fuzz.plant_mode("pending/waits.json", 0o644),
    ],
    ids=["half written", "hidden", "dropped as it is"],
)
def test_what_others_may_do_is_no_damage(furnished: Queue, make: Callable[[Spool], Path]) -> None:
    make(furnished.spool)

    assert integrity.check(furnished.spool, repair=False) == []


@pytest.mark.parametrize("look", ["scandir", "listdir", "path.lexists"])
def test_what_goes_while_one_looks_is_no_trouble(
    furnished: Queue, root: Path, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if others were quicker at every step: what is listed, or seen to exist, is gone next."""
    holders = [Holder(furnished.spool)]
    names = ("tmp/going", "logs/done.7.log", "workers/going.log", "done/going.json")
    going = [fuzz.private(root / name, _record("going")) for name in names]
    where, name = (os.path, "lexists") if "." in look else (os, look)
    real = getattr(where, name)

    class Listing(list[Any]):
        __enter__ = list.__iter__

        def __exit__(self, *_: object) -> None: ...

    def last(path: str) -> Any:
        seen = real(path)
        seen = seen if name == "lexists" else Listing(seen)
        for each in [each for each in going if str(each).startswith(str(path))]:
            going.remove(each)
            each.unlink(missing_ok=True)
        if str(path) == furnished.spool.layout.processing and holders:
            holders.pop().leave()
        return seen

    monkeypatch.setattr(where, name, last)

    assert integrity.check(furnished.spool, repair=False) == []


def test_a_spool_at_work_is_whole_whenever_one_looks(
    furnished: Queue, work: Callable[..., Any], figures: Callable[..., None]
) -> None:
    commands = ["true", "exit 3", "sleep 0.01", "(sleep 0.05) & true"]
    ids = [furnished.enqueue(commands[n % 4], max_retries=2) for n in range(160)]
    looks: list[list[integrity.Finding]] = []

    def look(worker: Any) -> None:
        while any(furnished.status().jobs[state] for state in ("pending", "processing")):
            looks.append(integrity.check(furnished.spool, repair=len(looks) % 2 == 1))
            with contextlib.suppress(QueuectlError):  # it may be over
                furnished.cancel(ids[-len(looks) % len(ids)])
        worker.stop()

    work(furnished, look, slots=3, deadline=90)

    figures("checks of a spool at work", looks=len(looks), findings=sum(map(len, looks)))
    assert len(looks) > 5
    assert [found for found in looks if found] == []


def test_a_spool_that_a_detached_worker_works_on_is_whole(
    furnished: Queue, eventually: Callable[..., Any]
) -> None:
    job_id = furnished.enqueue("echo x")
    worker: list[str | Path] = [PROGRAM, "--spool", furnished.path, "worker"]
    subprocess.run([*worker, "start", "--detach"], check=True, capture_output=True, umask=0o022)
    try:
        eventually(lambda: furnished.get(job_id).state == "completed")
        at_work = integrity.check(furnished.spool, repair=False)
    finally:
        subprocess.run([*worker, "stop", "--now", "--wait"], check=True, capture_output=True)

    assert (at_work, integrity.check(furnished.spool, repair=False)) == ([], [])


def test_the_command_tells_what_is_wrong_and_what_it_did(furnished: Queue) -> None:
    words = ("--spool", furnished.path, "check")
    whole = fuzz.queuectl(*words)
    mendable = str(fuzz.plant_mode("done/done.json", 0o666)(furnished.spool))
    stray = str(fuzz.plant_file("done/notes.txt")(furnished.spool))
    text, found = fuzz.queuectl(*words), fuzz.queuectl(*words, "--json")
    mended, left = fuzz.queuectl(*words, "--repair", "--json"), fuzz.queuectl(*words, "--repair")
    os.unlink(stray)
    last = fuzz.queuectl(*words, "--json")

    assert (whole.code, whole.out) == (0, "")
    assert (text.code, found.code, mended.code, left.code) == (1, 1, 1, 1)
    assert f"mode: {mendable}" in text.out
    assert "chmod 600" in text.out
    assert "check --repair" in text.err
    items = json.loads(found.out)
    assert {item["path"]: item["remedy"] for item in items} == {mendable: "chmod 600", stray: None}
    assert all(set(item) == set(integrity.Finding.__struct_fields__) for item in items)
    items = json.loads(mended.out)
    assert {item["path"]: item["repaired"] for item in items} == {mendable: True, stray: False}
    assert mendable not in left.out
    assert (last.code, last.out) == (0, "[]\n")


@pytest.mark.parametrize(("text", "code"), [("timeout = [", 2), ("timeout=0", 2), ("format=2", 1)])
def test_settings_that_cannot_be_read_are_told_in_one_line_and_left(
    furnished: Queue, root: Path, text: str, code: int
) -> None:
    (root / "queue.toml").write_text(text)

    said = fuzz.queuectl("--spool", furnished.path, "check", "--repair")

    assert (said.code, said.err.count("\n"), said.err[:17]) == (code, 1, "queuectl: error: ")
    assert (root / "queue.toml").read_text() == text

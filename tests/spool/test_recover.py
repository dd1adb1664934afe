"""What becomes of the claims of a holder that died."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from queuectl import Queue, clock, host
from queuectl.disk.locks import try_lock
from queuectl.process import survivors
from queuectl.record.job import Attempt
from queuectl.record.running import Run, content, cookie
from queuectl.spool.claims import Moved
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim, Ready
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool

FAILED_TWICE = [{"attempt": number, "outcome": "failed"} for number in (1, 2)]


@pytest.fixture
def orphan(
    spool: Spool, drop: Callable[..., Path], bury: Callable[[Holder], None]
) -> Callable[..., Claim]:
    """Leave a claim behind whose holder is dead."""

    def leave(name: str = "a", **fields: Any) -> Claim:
        drop(f"{name}.json", json.dumps({"command": "true", **fields}))
        holder = Holder(spool)
        sight = spool.reader.look("pending", f"{name}.json")
        assert isinstance(sight, Ready)
        claim = spool.claims.take(holder.name, "pending", f"{name}.json", sight)
        assert claim is not None
        bury(holder)
        return claim

    return leave


@pytest.fixture
def leftover(spool: Spool) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a process as a claim's command, with all or some of its marks."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        claim: Claim,
        *,
        on: str | None = None,
        namespace: str | None = None,
        marked: bool = True,
        locked: bool = True,
    ) -> subprocess.Popen[bytes]:
        info = Run(
            attempt=claim.attempt,
            slot=1,
            host=on or host.hostname(),
            boot_id=host.boot_id(),
            pid_namespace=host.pid_namespace() if namespace is None else namespace,
            pid=None,
            started_at="2026-11-24T08:00:00Z",
        )
        path = spool.layout.claim(claim.worker, claim.id, claim.attempt, "run")
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(fd, content(info))
        fcntl.flock(fd, fcntl.LOCK_EX)
        mark = {survivors.RUN_VARIABLE: cookie(claim.worker, claim.id, info)} if marked else {}
        command = subprocess.Popen(
            ["sleep", "1000"],
            env={**os.environ, **mark},
            pass_fds=(fd,) if locked else (),
            start_new_session=True,
        )
        os.pwrite(fd, content(replace(info, pid=command.pid)), 0)
        os.close(fd)
        started.append(command)
        return command

    yield start
    for command in started:
        command.kill()
        command.wait()


def _recover(spool: Spool) -> list[str]:
    return recover(spool, grace=0.1, draw=0)


def test_an_attempt_without_an_outcome_is_lost_and_counts(
    queue: Queue, spool: Spool, orphan: Callable[..., Claim]
) -> None:
    orphan()
    assert _recover(spool) == ["a"]
    found = queue.get("a")
    assert (found.state, found.job.attempts) == ("failed", 1)
    assert found.job.run_at is not None
    assert (found.job.last_attempt.outcome, found.job.last_attempt.attempt) == ("lost", 1)


def test_a_lost_attempt_beyond_the_last_retry_is_death(
    queue: Queue, spool: Spool, orphan: Callable[..., Claim]
) -> None:
    orphan(max_retries=2, attempts=2, history=FAILED_TWICE)
    _recover(spool)
    found = queue.get("a")
    assert (found.state, found.job.attempts, len(found.job.history)) == ("dead", 3, 3)


def test_a_cancel_that_nobody_heeded_is_heeded(
    queue: Queue, spool: Spool, orphan: Callable[..., Claim]
) -> None:
    orphan()
    assert queue.cancel("a") == "processing"
    _recover(spool)
    found = queue.get("a")
    assert (found.state, found.job.last_attempt.outcome) == ("dead", "cancelled")


def test_nothing_of_the_dead_is_left(
    spool: Spool, root: Path, orphan: Callable[..., Claim], leftover: Callable[..., Any]
) -> None:
    leftover(orphan())
    _recover(spool)
    assert not [*(root / "processing").iterdir()]
    assert not [*(root / "workers").iterdir()]


def test_the_claims_of_a_living_holder_are_left_alone(
    spool: Spool, drop: Callable[..., Path], stands: Callable[[], list[str]]
) -> None:
    drop("a.json")
    sight = spool.reader.look("pending", "a.json")
    assert isinstance(sight, Ready)
    with Holder(spool) as holder:
        spool.claims.take(holder.name, "pending", "a.json", sight)
        assert _recover(spool) == []
        assert stands() == [f"processing/{holder.name}/a.1.json"]


def test_claims_whose_lock_file_is_gone_are_recovered(
    queue: Queue, spool: Spool, root: Path, orphan: Callable[..., Claim]
) -> None:
    orphan()
    for path in (root / "workers").iterdir():
        path.unlink()
    _recover(spool)
    assert queue.get("a").state == "failed"


def test_a_claimed_file_that_is_no_job_is_dead_with_the_reason(
    queue: Queue, spool: Spool, root: Path, orphan: Callable[..., Claim]
) -> None:
    Path(orphan().path).write_text("[]")
    _recover(spool)
    assert (root / "dead" / "a.json").read_text() == "[]"
    assert "not a JSON object" in str(queue.list("dead")[0].problem)


def test_recovery_never_overwrites_another_job(
    spool: Spool,
    drop: Callable[..., Path],
    orphan: Callable[..., Claim],
    stands: Callable[[], list[str]],
    either_rename: str,
) -> None:
    orphan()
    drop("a.json", "theirs", state="failed")
    _recover(spool)
    assert stands() == ["failed/a.2.json", "failed/a.json"]


def test_two_names_of_one_file_are_one_job_in_the_later_state(
    spool: Spool,
    root: Path,
    orphan: Callable[..., Claim],
    stands: Callable[[], list[str]],
) -> None:
    os.link(orphan().path, root / "done" / "a.json")
    _recover(spool)
    assert stands() == ["done/a.json"]


@pytest.mark.parametrize("second", ["b", "a.2", "0"])
def test_hard_links_that_somebody_made_to_two_ids_are_two_jobs(
    spool: Spool,
    root: Path,
    orphan: Callable[..., Claim],
    stands: Callable[[], list[str]],
    second: str,
) -> None:
    os.link(orphan().path, root / "pending" / f"{second}.json")
    _recover(spool)
    assert stands() == ["failed/a.json", f"pending/{second}.json"]


@pytest.mark.parametrize("name", ["other", "a"])
def test_a_second_name_of_a_numbered_job_is_the_same_job(
    spool: Spool,
    root: Path,
    drop: Callable[..., Path],
    orphan: Callable[..., Claim],
    stands: Callable[[], list[str]],
    name: str,
) -> None:
    drop("a.json", "theirs", state="done")
    claim = orphan(id="a") if name == "other" else orphan()
    assert claim.id == "a.2"
    os.link(claim.path, root / "pending" / f"{name}.json")
    _recover(spool)
    assert stands() == ["done/a.json", f"pending/{name}.json"]


@pytest.mark.parametrize(
    ("marked", "locked"), [(True, True), (True, False), (False, True)], ids=str
)
def test_what_the_dead_left_running_is_ended_first(
    queue: Queue,
    spool: Spool,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    marked: bool,
    locked: bool,
) -> None:
    command = leftover(orphan(), marked=marked, locked=locked)
    _recover(spool)
    assert command.wait(20) < 0
    assert queue.get("a").job.last_attempt.outcome == "lost"


@pytest.mark.parametrize("looks", range(6))
def test_recovery_leaves_the_rest_once_it_is_told_to_stop(
    queue: Queue,
    spool: Spool,
    root: Path,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    looks: int,
) -> None:
    names = ["a", "b", "c"]
    commands = {leftover(orphan(name)).pid for name in names}
    asked: list[int] = []
    monkeypatch.setattr(survivors, "_signal", lambda pids, _: asked.extend(pids))
    left = iter(range(looks))
    stopped = recover(spool, grace=1000, draw=0, stopping=lambda: next(left, None) is None)
    assert stopped == []
    assert len(set(asked)) == (looks > 1)  # the first look comes before the first claim
    assert commands >= set(asked)
    assert {queue.get(name).state for name in names} == {"processing"}
    monkeypatch.undo()
    assert sorted(_recover(spool)) == names
    assert not [*(root / "workers").iterdir()]


def test_each_claim_has_a_grace_of_its_own(
    spool: Spool,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["a", "b", "c"]
    commands = {leftover(orphan(name)).pid for name in names}
    sent: list[tuple[int, int]] = []
    send = survivors._signal

    def ignore_the_first(pids: set[int], number: signal.Signals) -> None:
        sent.extend((pid, number) for pid in pids)
        if number == signal.SIGKILL:
            send(pids, number)

    monkeypatch.setattr(survivors, "_signal", ignore_the_first)
    assert sorted(_recover(spool)) == names
    for pid in commands:
        numbers = [number for each, number in sent if each == pid]
        assert numbers[:2] == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize(
    "place", [{"on": "elsewhere"}, {"namespace": "pid:[1]"}, {"namespace": ""}], ids=str
)
def test_what_runs_on_another_host_or_in_another_pid_namespace_is_waited_for(
    queue: Queue,
    spool: Spool,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    place: dict[str, str],
) -> None:
    command = leftover(orphan(), **place)
    assert _recover(spool) == []
    assert command.poll() is None
    assert queue.get("a").state == "processing"
    command.kill()
    command.wait()
    assert _recover(spool) == ["a"]


def test_a_stranger_with_the_number_of_a_dead_command_is_left_alone(
    spool: Spool, orphan: Callable[..., Claim], leftover: Callable[..., Any]
) -> None:
    stranger = leftover(orphan("b"), marked=False, locked=False)
    _recover(spool)
    assert stranger.poll() is None


def test_eight_who_recover_at_once_enter_one_lost_attempt(
    queue: Queue, orphan: Callable[..., Claim], at_once: Callable[..., list[Any]]
) -> None:
    for number in range(20):
        orphan(f"job{number}")
    moved = at_once(_recover_at, [(queue.path,)] * 8)
    assert sorted(job_id for each in moved for job_id in each) == sorted(
        f"job{number}" for number in range(20)
    )
    assert all(len(found.job.history) == 1 for found in queue.list("failed"))


def _recover_at(path: str) -> list[str]:
    return _recover(Queue(path).spool)


def test_a_holder_that_could_not_be_made_leaves_no_lock_behind(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(spool.disk, "make_dir", refuse)
        with pytest.raises(OSError, match="full"):
            Holder(spool)
    held = [path for path in (root / "workers").glob("*.lock") if try_lock(str(path)) is None]
    assert not held


def test_one_job_that_cannot_be_recovered_holds_up_no_other(
    queue: Queue,
    spool: Spool,
    orphan: Callable[..., Claim],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orphan("a")
    orphan("b")
    settle = spool.claims.settle

    def refuse_a(claim: Claim, *args: Any) -> Moved:
        if claim.id == "a":
            raise OSError(28, "full")
        return settle(claim, *args)

    with monkeypatch.context() as patch:
        patch.setattr(spool.claims, "settle", refuse_a)
        assert _recover(spool) == ["b"]
    assert queue.get("a").state == "processing"
    assert _recover(spool) == ["a"]


def test_an_outcome_that_is_written_is_only_moved_on(
    queue: Queue, spool: Spool, orphan: Callable[..., Claim]
) -> None:
    claim = orphan()
    entry = Attempt(attempt=1, outcome="ok", worker=claim.worker)
    Path(claim.path).write_bytes(claim.job.with_attempt(entry, attempts=1).encode())
    assert _recover(spool) == ["a"]
    assert (queue.get("a").state, queue.get("a").job.history) == ("completed", [entry])


def test_an_attempt_is_not_lost_before_its_processes_have_ended(
    queue: Queue,
    spool: Spool,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leftover(orphan(), locked=False)
    with monkeypatch.context() as patch:
        patch.setattr(survivors, "end", lambda *_, **__: False)
        assert _recover(spool) == []
    assert queue.get("a").state == "processing"
    assert _recover(spool) == ["a"]


def test_a_lost_attempt_is_told_in_full(
    queue: Queue,
    spool: Spool,
    orphan: Callable[..., Claim],
    leftover: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = orphan()
    leftover(claim)
    monkeypatch.setattr(clock, "now", lambda: 1_800_000_000.0)
    _recover(spool)
    assert queue.get("a").job.history == [
        Attempt(
            attempt=1,
            outcome="lost",
            error="its worker died before the outcome was on disk",
            worker=claim.worker,
            host=host.hostname(),
            started_at="2026-11-24T08:00:00Z",
            finished_at=clock.format_timestamp(1_800_000_000.0),
            log="logs/a.1.log",
        )
    ]


RESULT = {"outcome": "ok", "worker": "ITS OWN", "log": "logs/a.1.log"}


@pytest.mark.parametrize(
    ("fields", "entries", "is_the_job"),
    [
        ({}, [RESULT], True),
        ({"updated_at": "2026-11-24T08:00:00Z", "attempts": 1}, [RESULT], True),
        ({}, [{**RESULT, "log": None}], True),
        ({}, [RESULT, {"outcome": "ok"}], True),
        ({}, [], False),
        ({}, [{**RESULT, "worker": "other"}], False),
        ({}, [{**RESULT, "log": "logs/a.2.log"}], False),
        ({"command": "other"}, [RESULT], False),
        ({"created_at": "2020-01-01T00:00:00Z"}, [RESULT], False),
        ({"note": "other"}, [RESULT], False),
    ],
)
def test_a_claim_goes_only_if_its_own_result_is_in_a_later_state(
    spool: Spool,
    drop: Callable[..., Path],
    orphan: Callable[..., Claim],
    stands: Callable[[], list[str]],
    fields: dict[str, Any],
    entries: list[dict[str, Any]],
    is_the_job: bool,
) -> None:
    """A power cut may leave both, where directories reach the disk one by one."""
    created = {"created_at": "2026-11-24T07:00:00Z"}
    claim = orphan(**created)
    history = [
        {"attempt": number, **entry, "worker": claim.worker}
        if entry.get("worker") == "ITS OWN"
        else {"attempt": number, **entry}
        for number, entry in enumerate(entries, 1)
    ]
    record = {"command": "true", **created, **fields, "history": history}
    drop("a.json", json.dumps(record), state="done")
    _recover(spool)
    assert stands() == ["done/a.json", *([] if is_the_job else ["failed/a.json"])]

"""Whatever is dropped into `pending/`: it is run as a job or kept as what it is, and harms nothing.

First through the codec alone, then through look, claim and reject on a spool, then through a
worker that drains it. What stands around the spool is compared before and after.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faults.harness import fuzz

from queuectl import Queue, clock
from queuectl.errors import InvalidJob
from queuectl.record import retry
from queuectl.record.ids import is_id
from queuectl.record.job import Attempt, Job, decode
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool
from queuectl.view.status import JobStatus

POLICY = retry.RetryPolicy(3, 2, 86400, 0)
OURS = {"attempts", "history", "updated_at", "run_at", "created_at", "id"}
LONGEST_POLL = 2**31 / 1000  # seconds; poll(2) takes its milliseconds as an int
SHOWN = 20


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in memory, with sentinels beside where the spool will be, to stand in."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-fuzz-") as directory:
        base = Path(directory)
        fuzz.sentinels(base / "outside")
        monkeypatch.chdir(base / "outside" / "empty")
        yield base


def _spool(base: Path) -> Spool:
    """Make a spool that forces nothing to disk: what is tried here is not durability."""
    queue = Queue(base / "spool")
    for key, value in {"fsync": "false", "backoff_base": "0.01", "quiet_period": "0.05",
                       "rescan_interval": "0.2", "kill_grace": "0.5"}.items():  # fmt: skip
        queue.set_setting(key, value)
    return Queue(base / "spool").spool


def _verdict(data: bytes) -> tuple[Job | None, list[str]]:
    """Decode, and do with what was decoded all that may be done with a job."""
    try:
        job = decode(data)
    except InvalidJob as error:
        return None, [] if str(error) else ["refused without a reason"]
    wrong = []
    if (again := decode(job.encode())) and _plain(again) != _plain(job):
        wrong.append("encoding and decoding it gives another job")
    entry = Attempt(attempt=job.next_attempt, outcome="failed", error="x")
    later, _ = retry.next_record(job, entry, POLICY, now=clock.now(), draw=0.0)
    written = decode(later.encode())
    theirs = set(job.raw) - OURS
    if {key: _bare(job.raw[key]) for key in theirs} != {
        key: _bare(written.raw[key]) for key in set(written.raw) - OURS
    }:
        wrong.append("a rewrite changes what the submitter wrote")
    if len(written.history) != len(job.history) + 1:
        wrong.append("a rewrite loses history")
    return job, wrong + _unexecutable(job) + _unshowable(job)


def _plain(job: Job) -> tuple[Any, ...]:
    fields = tuple(getattr(job, name) for name in Job.__struct_fields__ if name != "raw")
    return (*fields, {key: _bare(text) for key, text in job.raw.items()})


def _bare(text: msgspec.Raw) -> bytes:
    """The text of a value without white space: what must be kept to the letter."""
    return msgspec.json.format(bytes(text), indent=-1)


def _unexecutable(job: Job) -> list[str]:
    wrong: list[str] = []
    argv = [job.command] if isinstance(job.command, str) else job.command
    texts = (*argv, job.cwd or "/", *(x for pair in (job.env or {}).items() for x in pair))
    wrong += [f"{text!r} cannot be passed to a program" for text in texts
              if b"\0" in os.fsencode(text)]  # fmt: skip
    wrong += [f"{key!r} is no variable" for key in job.env or {} if not key or "=" in key]
    for stamp in filter(None, (job.run_at, job.created_at, job.updated_at)):
        clock.parse_timestamp(stamp)
    return wrong


def _unshowable(job: Job) -> list[str]:
    status = JobStatus(id=job.id or "x", state="dead", path="x", job=job)
    document = msgspec.json.encode(status.to_dict())
    return [] if msgspec.json.decode(document)["state"] == "dead" else ["its state is its own"]


def _codec(inputs: Iterator[bytes]) -> tuple[Counter[str], list[str]]:
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    for data in inputs:
        tally["inputs"] += 1
        try:
            job, problems = _verdict(data)
        except Exception as error:
            job, problems = None, [f"{type(error).__name__}: {str(error)[:100]}"]
        tally["accepted" if job else "rejected"] += 1
        wrong += [f"{problem}: {data[:300]!r} ({len(data):,} bytes)" for problem in problems]
    return tally, wrong


def _told(figures: Callable[..., None], what: str, tally: Counter[str], wrong: list[str]) -> None:
    figures(f"fuzz: {what}", **tally, violations=len(wrong))
    for message, count in Counter(line.split(": ")[0] for line in wrong).items():
        print(f"{count} x {message}")
    assert wrong[:SHOWN] == []


def test_a_job_that_is_accepted_can_be_rewritten_executed_and_shown(
    figures: Callable[..., None],
) -> None:
    rng = fuzz.dice("structure")

    tally, wrong = _codec(fuzz.job_text(rng) for _ in range(fuzz.many(25_000)))

    assert tally["accepted"] > tally["inputs"] / 10
    assert tally["rejected"] > tally["inputs"] / 10
    _told(figures, "job files, structure", tally, wrong)


def test_broken_bytes_are_no_job_or_a_whole_one(figures: Callable[..., None]) -> None:
    tally, wrong = _codec(fuzz.broken_bytes(fuzz.dice("bytes"), fuzz.many(15_000)))

    _told(figures, "job files, bytes", tally, wrong)


def test_what_is_far_too_large_is_refused_or_kept_whole(figures: Callable[..., None]) -> None:
    rng = fuzz.dice("large")
    keys = [*fuzz.FIELDS, "tag", "tag", "tag", "env", "env", "command", "command"]
    texts = (f'{{"command":"true","{rng.choice(keys)}":{rng.choice([fuzz.large, fuzz.deep])(rng)}}}'
             for _ in range(fuzz.many(200)))  # fmt: skip

    tally, wrong = _codec(text.encode() for text in texts)

    _told(figures, "job files, large and deep", tally, wrong)


def _inputs(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and contents as they are dropped: half broken, half with hostile fields."""
    rng = fuzz.dice("dropped")
    broken = fuzz.broken_bytes(rng, number)
    for n in range(number):
        data = next(broken) if n % 2 else fuzz.job_text(rng)
        # Most under an id of their own: the n-th job of one id tries n - 1 names that are taken.
        yield fuzz.file_name(rng, n), data.replace(b'"job-1"', b'"job-%d"' % n)


def test_a_dropped_file_is_claimed_under_a_legal_id_or_kept_with_its_reason(
    place: Path, figures: Callable[..., None]
) -> None:
    spool = _spool(place)
    outside = fuzz.snapshot(place / "outside")
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    with Holder(spool) as holder:
        for name, data in _inputs(fuzz.many(6_000)):
            tally["inputs"] += 1
            (place / "spool" / "pending").joinpath(os.fsdecode(name)).write_bytes(data)
            accepted, problem = _take(spool, holder.name, os.fsdecode(name), data)
            tally["accepted" if accepted else "rejected"] += 1
            wrong += [f"{problem}: {name!r}: {data[:200]!r}"] if problem else []
    wrong += [f"touched: {path}" for path in
              fuzz.differences(outside, fuzz.snapshot(place / "outside"))]  # fmt: skip
    wrong += _looked_at(place / "spool")

    _told(figures, "files looked at, claimed, rejected", tally, wrong)


def _take(spool: Spool, holder: str, name: str, data: bytes) -> tuple[bool, str | None]:
    """Do with a file what a worker does, but run it; say whether it is a job, and what is wrong."""
    try:
        sight = spool.reader.look("pending", name)
        if sight is None:
            return False, "not seen"
        if isinstance(sight, Ready):
            claim = spool.claims.take(holder, "pending", name, sight)
            if claim is None or not is_id(claim.id):
                return True, f"claimed as {claim and claim.id!r}"
            moved = spool.claims.move_on(claim.path, "completed", claim.id)
            spool.disk.commit(*moved.owed)
            kept = moved.id
            path = spool.layout.job("completed", kept)
            return True, None if Path(path).read_bytes() == data else "a claim changed it"
        kept = reject(spool, spool.layout.entry("pending", name), sight.reason) or ""
        if Path(spool.layout.job("dead", kept)).read_bytes() != data:
            return False, "its bytes are not kept"
        said = Path(spool.layout.reason(kept)).read_text()
        return False, None if sight.reason in said else "its reason is not told"
    except Exception as error:
        return False, f"{type(error).__name__}: {str(error)[:100]}"


def _looked_at(root: Path) -> list[str]:
    """Read the whole spool by every command that shows it; return what goes wrong."""
    wrong = []
    for words in (["status"], ["list"], ["list", "--json"], ["list", "--state", "dead"],
                  ["dlq", "list"], ["dlq", "list", "--json"], ["check"], ["check", "--json"],
                  ["worker", "list"]):  # fmt: skip
        said = fuzz.queuectl("--spool", str(root), *words)
        if said.code not in (0, 1) or "queuectl: error" in said.err:
            wrong.append(f"{' '.join(words)} ends with {said.code}: {said.err[:200]}")
        if "--json" not in words and (found := fuzz.raw_controls(said.out + said.err)):
            wrong.append(f"{' '.join(words)} shows raw {found!r}")
    return wrong


def test_a_worker_drains_whatever_is_dropped(
    place: Path, figures: Callable[..., None], work: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    spool = _spool(place)
    outside = fuzz.snapshot(place / "outside")
    rng = fuzz.dice("drained")
    dropped: dict[bytes, bytes] = {}
    for number in range(fuzz.many(400)):
        # A command that fails is not retried for ever, whatever the dice say.
        fixed = {"max_retries": "0", "mark": str(number)}
        data = fuzz.job_text(rng, **fixed)
        while number % 2 and _job(data) is None:  # half of what is dropped is to be run
            data = fuzz.job_text(rng, **fixed)
        dropped[fuzz.file_name(rng, number)] = data
    for name, data in dropped.items():
        (place / "spool" / "pending").joinpath(os.fsdecode(name)).write_bytes(data)
    unread = _looked_at(place / "spool")

    with caplog.at_level("WARNING"):
        work(Queue(place / "spool"), slots=4, drain=True, deadline=100)

    tally, wrong = _settled(spool, dropped)
    wrong += [f"before the drain, {problem}" for problem in unread]
    wrong += [f"touched: {path}" for path in
              fuzz.differences(outside, fuzz.snapshot(place / "outside"))]  # fmt: skip
    wrong += _looked_at(place / "spool")
    wrong += [f"a traceback: {record.message}" for record in caplog.records if record.exc_info]
    _told(figures, "files drained by a worker", tally, wrong)


def _job(data: bytes) -> Job | None:
    try:
        return decode(data)
    except InvalidJob:
        return None


def _settled(spool: Spool, dropped: dict[bytes, bytes]) -> tuple[Counter[str], list[str]]:
    """Count the jobs that were run and the files that were kept; name those that are neither."""
    now = clock.now()
    paths = spool.layout
    records: Counter[str] = Counter()
    kept: Counter[bytes] = Counter()
    for state in ("pending", "completed", "dead"):
        for name in spool.reader.names(state):
            data = Path(paths.entry(state, name)).read_bytes()
            kept[data] += 1
            try:
                records[f"{bytes(decode(data).raw['mark']).decode()} {state}"] += 1
            except (InvalidJob, KeyError):
                reason = paths.reason(paths_id) if is_id(paths_id := name[:-5]) else ""
                if state != "dead" or not os.path.exists(reason):
                    kept[data] -= 1
    tally: Counter[str] = Counter(inputs=len(dropped), accepted=0, rejected=0)
    wrong = []
    for number, (file, data) in enumerate(dropped.items()):
        about = f"{file!r}: {data[:300]!r}"
        job = _job(data)
        if job is None or not is_id(job.id or os.fsdecode(file)[:-5]):
            tally["rejected"] += 1
            wrong += [] if kept[data] else [f"not kept with its reason: {about}"]
            continue
        tally["accepted"] += 1
        later = job.run_at is not None and clock.parse_timestamp(job.run_at) > now
        states = ["pending"] if later else ["completed", "dead"]
        if sum(records[f"{number} {state}"] for state in states) != 1:
            wrong.append(f"not once in one of {states}: {about}")
    return tally, wrong


@pytest.mark.parametrize("seconds", [LONGEST_POLL + 1, 1e9, 1e300])
def test_a_job_may_have_a_timeout_that_no_poll_can_wait_for(
    place: Path, work: Callable[..., Any], seconds: float
) -> None:
    queue = Queue(_spool(place).layout.root)
    job_id = queue.enqueue("true", timeout=seconds)

    work(queue, drain=True)

    assert queue.get(job_id).state == "completed"

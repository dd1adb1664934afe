"""A crash before every single change to the disk: one job in one place, and nothing run twice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import IdTaken, WrongState
from queuectl.record.job import Attempt, Job, decode
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool

pytestmark = pytest.mark.usefixtures("either_rename")

FRESH = '{"command": "true"}'
RUN_BEFORE = (
    '{"command": "true", "attempts": 1, "history": [{"attempt": 1, "outcome": "failed"}],'
    ' "run_at": "2026-01-01T00:00:00Z"}'
)
SPENT = (
    '{"command": "true", "attempts": 4, "history": ['
    + ", ".join(f'{{"attempt": {n}, "outcome": "failed"}}' for n in (1, 2, 3, 4))
    + "]}"
)


class Aftermath:
    """The spool after a crash and a recovery."""

    def __init__(self, root: Path, stands: Callable[[], list[str]]) -> None:
        places = stands()
        assert len(places) == 1, f"one job, one file, one place: {places}"
        self.path = root / places[0]
        self.state = self.path.parent.name
        assert self.path.name == "a.json"
        self.job: Job = decode(self.path.read_bytes())

    @property
    def outcomes(self) -> list[str]:
        return [entry.outcome for entry in self.job.history]


@pytest.fixture
def each_crash(
    spool: Spool,
    root: Path,
    crash: Callable[..., bool],
    stands: Callable[[], list[str]],
    bytes_of: Callable[[], Any],
    drop: Callable[..., Path],
) -> Callable[..., Iterator[Aftermath]]:
    """Crash at each step of an operation in turn, recover, and look."""

    def run(state: str, text: str, operation: Callable[[], object]) -> Iterator[Aftermath]:
        for step in itertools.count(1):
            for place in stands():
                (root / place).unlink()
            drop("a.json", text, state=state)
            crashed = crash(operation, step)
            recover(spool, grace=0, draw=0)
            after = bytes_of()
            recover(spool, grace=0, draw=0)
            assert bytes_of() == after, "a second recovery changes nothing"
            assert not [*(root / "processing").iterdir()]
            assert not [*(root / "workers").iterdir()]
            yield Aftermath(root, stands)
            if not crashed:
                assert step > 4, "there was nothing to crash"
                return

    return run


def _claim(spool: Spool, holder: Holder, state: Any = "pending") -> Any:
    sight = spool.reader.look(state, "a.json")
    assert isinstance(sight, Ready)
    return spool.claims.take(holder.name, state, "a.json", sight)


def _over(spool: Spool, outcome: Any, target: Any) -> None:
    claim = _claim(spool, Holder(spool))
    entry = Attempt(attempt=claim.attempt, outcome=outcome)
    counted = outcome not in ("interrupted", "cancelled")
    spool.claims.settle(claim, claim.job.with_attempt(entry, attempts=int(counted)), target)


@pytest.mark.parametrize(
    ("state", "text", "before"), [("pending", FRESH, []), ("failed", RUN_BEFORE, ["failed"])]
)
def test_a_crash_while_claiming_loses_nothing_and_counts_what_was_claimed(
    spool: Spool, each_crash: Any, state: str, text: str, before: list[str]
) -> None:
    for after in each_crash(state, text, lambda: _claim(spool, Holder(spool), state)):
        lost = after.outcomes == [*before, "lost"]
        assert lost or after.outcomes == before
        assert after.state == ("failed" if lost else state)


@pytest.mark.parametrize(
    ("outcome", "target", "state"),
    [
        ("ok", "completed", "done"),
        ("failed", "failed", "failed"),
        ("cancelled", "dead", "dead"),
        ("interrupted", "pending", "pending"),
    ],
)
def test_a_crash_while_settling_leaves_the_outcome_or_a_lost_attempt_but_never_both(
    spool: Spool, each_crash: Any, outcome: str, target: str, state: str
) -> None:
    seen = set()
    for after in each_crash("pending", FRESH, lambda: _over(spool, outcome, target)):
        (entered,) = after.outcomes or ["none"]
        assert after.state == {"none": "pending", "lost": "failed", outcome: state}[entered]
        seen.add(entered)
    assert seen == {"none", "lost", outcome}


@pytest.mark.parametrize(
    ("state", "text", "before"),
    [
        ("pending", FRESH, []),
        ("failed", RUN_BEFORE, ["failed"]),
        ("pending", RUN_BEFORE, ["failed"]),
    ],
)
def test_a_crash_while_cancelling_leaves_the_job_as_it_was_or_cancelled(
    queue: Queue, each_crash: Any, state: str, text: str, before: list[str]
) -> None:
    for after in each_crash(state, text, lambda: queue.cancel("a")):
        if after.outcomes != before:
            assert (after.state, after.outcomes) == ("dead", [*before, "cancelled"])
        else:
            assert after.state in ("pending", "failed"), "it will be run"


def test_a_crash_while_cancelling_puts_a_job_back_that_a_person_moved_to_pending(
    queue: Queue, each_crash: Any
) -> None:
    for after in each_crash("pending", SPENT, lambda: queue.cancel("a")):
        cancelled = after.outcomes[-1] == "cancelled"
        assert after.state == ("dead" if cancelled else "pending")


def test_a_crash_while_retrying_leaves_the_job_dead_or_to_be_run(
    queue: Queue, each_crash: Any
) -> None:
    for after in each_crash("dead", SPENT, lambda: queue.retry("a")):
        assert after.outcomes == ["failed"] * 4
        dead = after.state == "dead"
        assert after.state in ("dead", "failed", "pending")
        assert after.job.attempts == (4 if dead else 0)
        assert dead or after.job.run_at is None


def test_a_crash_while_enqueueing_leaves_a_whole_job_or_none(
    queue: Queue, crash: Callable[..., bool], stands: Callable[[], list[str]]
) -> None:
    for step in itertools.count(1):
        job_id = f"job{step}"
        crashed = crash(lambda job_id=job_id: queue.enqueue("true", id=job_id), step)
        if f"pending/{job_id}.json" in stands():
            assert queue.get(job_id).job is not None
        else:
            assert crashed
            assert queue.enqueue("true", id=job_id) == job_id
        if not crashed:
            break


def test_a_crash_while_a_batch_is_published_leaves_whole_jobs_that_can_be_told_apart(
    queue: Queue, crash: Callable[..., bool]
) -> None:
    for step in itertools.count(1):
        names = [f"{step}-{n}" for n in range(3)]
        jobs = [{"command": "true", "id": name} for name in names]
        crashed = crash(lambda jobs=jobs: queue.enqueue_many(jobs), step)
        for name in names:
            with contextlib.suppress(IdTaken):
                queue.enqueue("true", id=name)
            assert queue.get(name).job is not None
        if not crashed:
            break


def test_a_crash_while_purging_leaves_the_job_or_nothing_that_counts(
    queue: Queue, root: Path, crash: Callable[..., bool], drop: Callable[..., Path]
) -> None:
    for step in itertools.count(1):
        drop("a.json", SPENT, state="dead")
        crashed = crash(lambda: queue.purge("dead", -1), step)
        queue.purge("dead", -1)
        assert queue.spool.reader.counts()["dead"] == 0
        if not crashed:
            break


def test_a_crash_while_recovering_is_recovered(
    spool: Spool, each_crash: Any, bury: Callable[[Holder], None]
) -> None:
    def die_and_recover() -> None:
        holder = Holder(spool)
        _claim(spool, holder)
        bury(holder)
        recover(spool, grace=0, draw=0)

    for after in each_crash("pending", FRESH, die_and_recover):
        assert after.outcomes in ([], ["lost"])
        assert after.state == ("failed" if after.outcomes else "pending")


def test_a_crash_while_a_setting_is_written_leaves_the_old_or_the_new(
    queue: Queue, crash: Callable[..., bool]
) -> None:
    for step in itertools.count(1):
        queue.set_setting("max_retries", "3")
        crashed = crash(lambda: queue.set_setting("max_retries", "7"), step)
        assert Queue(queue.path).settings.max_retries in ((3, 7) if crashed else (7,))
        if not crashed:
            break


def test_a_retry_that_lost_its_race_says_so(
    queue: Queue, spool: Spool, drop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop("a.json", SPENT, state="dead")
    hold = spool.claims.hold

    def lose_the_race(*args: Any) -> Any:
        path.unlink()
        return hold(*args)

    monkeypatch.setattr(spool.claims, "hold", lose_the_race)
    with pytest.raises(WrongState, match="just moved"):
        queue.retry("a")

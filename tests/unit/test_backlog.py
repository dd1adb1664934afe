"""The backlog and the files that are not ready, without a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from queuectl import clock
from queuectl.record import job
from queuectl.record.job import State
from queuectl.spool.places import Ready, Seen, Unfit
from queuectl.worker.backlog import Backlog
from queuectl.worker.unready import Unready

NOW = 1_800_000_000.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock_hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hand = Clock()
    monkeypatch.setattr(clock, "now", hand)
    monkeypatch.setattr(clock, "monotonic", hand)
    return hand


@pytest.fixture
def backlog(clock_hand: Clock) -> Backlog:
    return Backlog()


def _job(created: float = NOW, job_id: str = "a", **fields: Any) -> Ready:
    if "run_at" in fields:
        fields["run_at"] = clock.format_timestamp(fields["run_at"])
    stamp = clock.format_timestamp(created)
    record = job.build({"command": "true", "created_at": stamp, **fields})
    return Ready(job_id, len(record.history), record)


def _take(backlog: Backlog) -> tuple[State, str] | None:
    taken = backlog.take(wait=False)
    return taken and taken[:2]


def test_jobs_are_taken_by_priority_and_then_by_age(backlog: Backlog) -> None:
    for name, created, priority in [("c", 3, 0), ("b", 2, 0), ("a", 9, 5), ("d", 1, -1)]:
        backlog.add("pending", name, _job(created, priority=priority))
    assert [_take(backlog) for _ in range(4)] == [("pending", name) for name in "abcd"]


def test_a_scheduled_job_is_taken_when_it_is_due(backlog: Backlog, clock_hand: Clock) -> None:
    backlog.add("pending", "later", _job(1, run_at=NOW + 60, priority=9))
    backlog.add("pending", "now", _job(2))
    assert (_take(backlog), backlog.scheduled()) == (("pending", "now"), [("pending", "later")])
    clock_hand.seconds += 60
    assert _take(backlog) == ("pending", "later")


def test_a_changed_job_is_taken_once_and_as_it_is_now(backlog: Backlog) -> None:
    backlog.add("pending", "a", _job(1))
    backlog.add("pending", "b", _job(2))
    backlog.add("pending", "b", _job(2, priority=1))
    assert [_take(backlog), _take(backlog)] == [("pending", "b"), ("pending", "a")]
    assert backlog.is_idle(0)


def test_a_forgotten_job_is_not_taken(backlog: Backlog) -> None:
    backlog.add("pending", "a", _job(1))
    backlog.add("pending", "b", _job(2))
    backlog.forget("pending", "a")
    assert _take(backlog) == ("pending", "b")


def test_the_same_name_in_two_states_is_two_jobs(backlog: Backlog) -> None:
    backlog.add("pending", "a", _job(1))
    backlog.add("failed", "a", _job(2))
    assert [_take(backlog), _take(backlog)] == [("pending", "a"), ("failed", "a")]


def test_a_closed_backlog_gives_out_nothing(backlog: Backlog) -> None:
    backlog.add("pending", "a", _job())
    backlog.close()
    assert _take(backlog) is None


@pytest.mark.parametrize(
    ("state", "run_at", "idle"),
    [
        ("pending", NOW - 1, False),
        ("pending", NOW + 60, True),
        ("failed", NOW - 1, False),
        ("failed", NOW + 60, False),
    ],
)
def test_a_backlog_of_only_scheduled_jobs_is_idle(
    backlog: Backlog, state: Any, run_at: float, idle: bool
) -> None:
    backlog.add(state, "a", _job(run_at=run_at))
    assert backlog.is_idle(0) is idle


def test_a_job_is_taken_with_its_wanted_id_and_its_attempts(backlog: Backlog) -> None:
    history = [{"attempt": number, "outcome": "failed"} for number in (1, 2)]
    backlog.add("pending", "a.json", _job(1, "b"))
    backlog.add("failed", "a.json", _job(2, history=history))
    assert backlog.take() == ("pending", "a.json", Seen("b", 0))
    assert backlog.take() == ("failed", "a.json", Seen("a", 2))


def test_a_taker_that_does_not_wait_gets_none(backlog: Backlog) -> None:
    told: list[None] = []
    assert backlog.take(wait=False, waiting=lambda: told.append(None)) is None
    assert told == []


def test_a_taker_that_waits_is_woken_by_a_new_job(
    backlog: Backlog, eventually: Callable[..., Any]
) -> None:
    taken: list[Any] = []
    taker = threading.Thread(target=lambda: taken.append(backlog.take()))
    taker.start()
    eventually(lambda: backlog.is_idle(1))
    backlog.add("pending", "a", _job())
    taker.join(20)
    assert taken == [("pending", "a", Seen("a", 0))]


@pytest.mark.parametrize(
    ("looks", "bad"),
    [
        ([(0, 1, False), (1.9, 1, False)], False),
        ([(0, 1, False), (2, 1, False)], True),
        ([(0, 1, False), (1, 2, False), (2, 2, False)], False),
        ([(0, 1, False), (1, 2, False), (3, 2, False)], True),
        ([(0, 1, True), (9, 1, True)], False),
        ([(0, 1, False), (9, 1, True), (10, 1, False)], False),
        ([(0, 1, True), (9, 1, False), (11, 1, False)], True),
    ],
)
def test_a_file_is_bad_when_nobody_has_changed_it_for_long_enough(
    clock_hand: Clock, looks: list[tuple[float, int, bool]], bad: bool
) -> None:
    unready = Unready()
    verdict = False
    for second, version, written in looks:
        clock_hand.seconds = NOW + second
        verdict = unready.is_bad("pending", "a", Unfit("half", (version,), written), 2)
    assert verdict is bad

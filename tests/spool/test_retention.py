"""Retention by age and by number, with real workers."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.spool import retention
from queuectl.spool.purge import purge_old
from queuectl.spool.retention import Retention
from queuectl.spool.spool import Spool
from queuectl.worker import housekeeping
from queuectl.worker.worker import Worker

DAY = 86400
NOW = 1_700_000_000
STATES = pytest.mark.parametrize(
    ("state", "key"), [("done", "keep_done_count"), ("dead", "keep_dead_count")]
)


@pytest.fixture
def finished(root: Path, drop: Callable[..., Path]) -> Callable[..., Path]:
    """Put a finished job, `age` seconds old, and its log into the spool."""

    def put(name: str, age: float = 0, state: str = "done") -> Path:
        history = '[{"attempt": 1, "outcome": "ok"}]'
        path = drop(f"{name}.json", f'{{"command": "true", "history": {history}}}', state=state)
        (root / "logs" / f"{name}.1.log").touch()
        os.utime(path, (NOW - age, NOW - age))
        return path

    return put


@pytest.fixture
def kept(root: Path) -> Callable[..., list[str]]:
    return lambda state="done": sorted(path.stem for path in (root / state).glob("*.json"))


@pytest.fixture
def retain(spool: Spool) -> Callable[[], None]:
    """Do one whole round of retention."""

    def run() -> None:
        spool.settings.current()
        steps = Retention(spool, threading.Event())
        while not steps.continue_round():
            pass

    return run


@STATES
def test_the_newest_jobs_are_kept_with_their_logs(
    queue: Queue, root: Path, finished: Any, kept: Any, drain: Callable[..., Any], state: str,
    key: str,
) -> None:  # fmt: skip
    for number in range(10):
        finished(f"job-{number}", age=number, state=state)
    queue.set_setting(key, "3")
    drain(queue)
    assert kept(state) == ["job-0", "job-1", "job-2"]
    logs = sorted(path.name for path in (root / "logs").iterdir())
    assert logs == ["job-0.1.log", "job-1.1.log", "job-2.1.log"]


@STATES
def test_zero_keeps_no_job(
    queue: Queue, finished: Any, kept: Any, retain: Any, state: str, key: str
) -> None:
    finished("a", state=state)
    queue.set_setting(key, "0")
    retain()
    assert kept(state) == []


def test_a_number_for_one_state_does_not_hold_for_the_other(
    queue: Queue, finished: Any, kept: Any, retain: Any
) -> None:
    for state in ("done", "dead", "failed", "pending"):
        finished("a", state=state)
    queue.set_setting("keep_dead_count", "0")
    retain()
    assert [kept(state) for state in ("done", "dead", "failed", "pending")] == [
        ["a"], [], ["a"], ["a"],
    ]  # fmt: skip


def test_all_workers_choose_the_same_among_equally_old_jobs(
    queue: Queue, finished: Any, kept: Any, at_once: Callable[..., list[Any]]
) -> None:
    for number in range(300):
        finished(f"job-{number:03}", age=number // 200)
    queue.set_setting("keep_done_count", "50")
    at_once(_retain_at, [(queue.path,)] * 4)
    assert kept() == [f"job-{number:03}" for number in range(150, 200)]


def _retain_at(path: str) -> None:
    retention.STEP, retention.BATCH = 7, 40
    steps = Retention(Queue(path).spool, threading.Event())
    while not steps.continue_round():
        pass


@pytest.mark.parametrize(
    ("age", "number", "stays"),
    [("150s", "9", "ab"), ("450s", "2", "ab"), ("250s", "3", "abc"), ("1s", "9", "")],
)
def test_age_and_number_both_hold(
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    finished: Any,
    kept: Any,
    retain: Any,
    age: str,
    number: str,
    stays: str,
) -> None:
    monkeypatch.setattr("queuectl.clock.now", lambda: float(NOW))
    for hundreds, name in enumerate("abcde"):
        finished(name, age=100 * hundreds + 50)
    queue.set_setting("keep_done", age)
    queue.set_setting("keep_done_count", number)
    retain()
    assert "".join(kept()) == stays


def test_a_rejected_file_is_as_old_as_its_reason(
    queue: Queue, root: Path, finished: Any, kept: Any, retain: Any
) -> None:
    for name, age in [("old", 10), ("older", 20), ("ancient", 30)]:
        finished(name, age=age, state="dead")
    (root / "dead" / "ancient.error").touch()  # rejected just now
    queue.set_setting("keep_dead_count", "2")
    retain()
    assert kept("dead") == ["ancient", "old"]


def test_a_chosen_job_that_was_retried_and_came_back_is_kept(
    queue: Queue,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    finished: Any,
    kept: Any,
    retain: Any,
    drain: Callable[..., Any],
) -> None:
    for number in range(6):
        finished(f"job-{number}", age=number, state="dead")
    monkeypatch.setattr(retention, "STEP", 1)
    chosen: list[Any] = []

    def interfere(_: Spool, place: Any) -> int:
        if not chosen:  # the jobs are chosen, and none is removed yet
            queue.retry("job-4")
            queue.retry("job-5")
            drain(queue, slots=1)
            os.rename(Path(queue.path, "done/job-4.json"), Path(queue.path, "dead/job-4.json"))
        chosen.append(1)
        return purge_old(spool, place)

    monkeypatch.setattr("queuectl.spool.retention.purge_old", interfere)
    spool.settings.current()
    queue.set_setting("keep_dead_count", "2")
    retain()
    assert kept("dead") == ["job-0", "job-1", "job-4"]
    assert kept("done") == ["job-5"]


def test_many_jobs_are_removed_in_batches_and_small_steps(
    queue: Queue, spool: Spool, monkeypatch: pytest.MonkeyPatch, finished: Any, kept: Any
) -> None:
    for number in range(60):
        finished(f"job-{number:02}", age=number)
    monkeypatch.setattr(retention, "STEP", 3)
    monkeypatch.setattr(retention, "BATCH", 10)
    monkeypatch.setattr(retention, "SLICE", 0.0)
    queue.set_setting("keep_done_count", "4")
    spool.settings.current()
    steps = Retention(spool, threading.Event())
    left = [len(kept())]
    while not steps.continue_round():
        left.append(len(kept()))
    assert max(before - after for before, after in itertools.pairwise(left)) == 3
    assert kept() == ["job-00", "job-01", "job-02", "job-03"]


def test_retention_ends_when_its_worker_stops(
    queue: Queue, spool: Spool, monkeypatch: pytest.MonkeyPatch, finished: Any, kept: Any
) -> None:
    for number in range(50):
        finished(f"job-{number}")
    monkeypatch.setattr(retention, "LOOKED_AT", 10)
    queue.set_setting("keep_done_count", "1")
    spool.settings.current()
    closing = threading.Event()
    closing.set()
    assert Retention(spool, closing).continue_round()
    assert len(kept()) == 50


@pytest.fixture
def much_to_remove(queue: Queue, monkeypatch: pytest.MonkeyPatch, finished: Any) -> None:
    """400 jobs that retention removes, slowly."""
    for number in range(400):
        finished(f"job-{number}", age=1000)
    monkeypatch.setattr(retention, "STEP", 1)
    monkeypatch.setattr(retention, "BREATH", 0.02)
    queue.set_setting("keep_done_count", "0")


@pytest.mark.usefixtures("much_to_remove")
def test_jobs_run_while_retention_goes_on(queue: Queue, kept: Any, work: Any) -> None:
    def watch(worker: Worker) -> None:
        queue.wait([queue.enqueue("true") for _ in range(3)], timeout=20)
        assert len(kept()) > 100
        worker.stop()

    work(queue, watch)


@pytest.mark.usefixtures("much_to_remove")
def test_a_drain_does_not_wait_until_very_many_jobs_are_removed(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, kept: Any, drain: Any
) -> None:
    monkeypatch.setattr(retention, "SLICE", 0.1)
    monkeypatch.setattr(housekeeping, "RETENTION_BEFORE_LEAVING", 10)
    drain(queue)
    assert 100 < len(kept()) <= 390


def test_a_number_that_is_set_while_a_worker_runs_holds_in_the_next_round(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, kept: Any, work: Any, eventually: Any
) -> None:
    monkeypatch.setattr(retention, "INTERVAL", 0.1)

    def watch(worker: Worker) -> None:
        ids = [queue.enqueue("true") for _ in range(5)]
        queue.wait(ids, timeout=20)
        queue.set_setting("keep_done_count", "2")
        eventually(lambda: len(kept()) == 2)
        worker.stop()

    work(queue, watch)


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_rejected_file_whose_reason_was_not_written_is_kept_for_its_time(
    queue: Queue, root: Path, drop: Callable[..., Path], retain: Callable[[], None], by_hand: bool
) -> None:
    """A killed worker left it so: its mtime is that of its writer, and may be years old."""
    old = drop("old.json", "{", state="dead")
    os.utime(old, (NOW, NOW))
    queue.set_setting("keep_dead", "1d")
    for _ in range(2):
        queue.purge("dead", DAY) if by_hand else retain()
    assert old.exists()
    assert "not a JSON object" in (root / "dead" / "old.error").read_text()
    queue.purge("dead")
    assert list((root / "dead").iterdir()) == []

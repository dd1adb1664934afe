"""The periodic work of a worker: retention, leftovers, scans and recovery."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.record.job import State
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.spool import Spool
from queuectl.view.observer import NO_OBSERVER
from queuectl.worker.hooks import Hooks
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.intake import Intake
from queuectl.worker.worker import Worker

DAY = 86400


def _age(path: Path, seconds: float) -> Path:
    then = path.lstat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(("state", "key"), [("done", "keep_done"), ("dead", "keep_dead")])
def test_finished_jobs_are_kept_as_long_as_the_settings_say(
    queue: Queue,
    drop: Callable[..., Path],
    drain: Callable[..., Any],
    stands: Callable[[], list[str]],
    state: str,
    key: str,
) -> None:
    for each in ("done", "dead"):
        _age(drop("old.json", state=each), 2 * DAY)
        drop("new.json", state=each)
    queue.set_setting(key, "1d")
    drain(queue)
    kept = {"done/new.json", "done/old.json", "dead/new.json", "dead/old.json"}
    assert set(stands()) == kept - {f"{state}/old.json"}


def test_without_a_setting_jobs_are_kept_for_good(
    drop: Callable[..., Path], queue: Queue, drain: Callable[..., Any]
) -> None:
    old = _age(drop("old.json", state="done"), 9999 * DAY)
    drain(queue)
    assert old.exists()


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock on: nothing can set the time of a file's last change."""

    def move(hours: float) -> None:
        monkeypatch.setattr(clock, "now", lambda: time.time() + hours * 3600)

    return move


@pytest.mark.parametrize(("hours", "stays"), [(35, True), (37, False)])
def test_leftovers_of_dead_writers_are_removed_after_36_hours(
    queue: Queue,
    root: Path,
    drain: Callable[..., Any],
    let_pass: Callable[[float], None],
    hours: float,
    stays: bool,
) -> None:
    (root / "tmp" / "left").touch()
    let_pass(hours)
    drain(queue)
    assert (root / "tmp" / "left").exists() == stays


@pytest.mark.parametrize("lives", [True, False])
def test_a_stop_file_of_a_worker_that_has_left_is_removed_after_36_hours(
    queue: Queue,
    root: Path,
    drain: Callable[..., Any],
    let_pass: Callable[[float], None],
    lives: bool,
) -> None:
    """It was asked to stop just as it left."""
    stop = root / "workers" / "vm-1-aaaa.stop"
    stop.touch()
    if lives:
        lock = os.open(stop.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    let_pass(37)
    drain(queue)
    assert stop.exists() == lives
    if lives:
        os.close(lock)


def test_a_file_that_keeps_its_old_time_when_it_is_copied_is_no_leftover(
    queue: Queue, root: Path, drain: Callable[..., Any]
) -> None:
    (root / "tmp" / "copied").touch()
    copied = _age(root / "tmp" / "copied", 9 * DAY)
    drain(queue)
    assert copied.exists()
    assert "leftover" not in {found.damage for found in queue.check()}


def test_an_old_directory_in_tmp_does_not_stop_the_housekeeping(
    queue: Queue,
    root: Path,
    drop: Callable[..., Path],
    drain: Callable[..., Any],
    let_pass: Callable[[float], None],
) -> None:
    (root / "tmp" / "directory").mkdir()
    let_pass(37)
    old = _age(drop("old.json", state="done"), 2 * DAY)
    queue.set_setting("keep_done", "1d")
    drain(queue)
    assert not old.exists()


@pytest.mark.parametrize(("watched", "most"), [(True, 2), (False, 60)])
def test_a_slow_directory_is_listed_less_often_under_a_watch(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, watched: bool, most: int
) -> None:
    now, listed, names = [0.0], [], spool.reader.names

    def take_two_seconds(state: State) -> Iterator[str]:
        if state == "pending":
            now[0] += 2
            listed.append(now[0])
        return names(state)

    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(spool.reader, "names", take_two_seconds)
    monkeypatch.setattr(Intake, "read_ahead", lambda _: iter(()))
    monkeypatch.setattr(Intake, "knows", lambda *_: True)
    keeper = Housekeeper(
        Intake(spool, Hooks(spool, "w", 1, changed=lambda: None)),
        NO_OBSERVER,
        each_round=lambda: watched,
        overflowed=threading.Event(),
    )
    for second in range(60):
        os.utime(root / "pending", (second, second))  # as a claim changes it
        keeper._round()
        now[0] += 1
    assert len(listed) == most


@pytest.mark.parametrize("name", ["done", "logs", "tmp", "failed"])
def test_a_directory_that_is_removed_under_a_worker_is_made_again(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any], name: str
) -> None:
    def remove(worker: Worker) -> None:
        (root / name).rmdir()
        eventually((root / name).is_dir)
        queue.wait([queue.enqueue("true")], timeout=20)
        worker.stop()

    assert work(queue, remove).tally.ok == 1


def test_the_jobs_of_a_dead_worker_are_run_by_the_next(
    queue: Queue,
    spool: Spool,
    bury: Callable[[Holder], None],
    drain: Callable[..., Any],
) -> None:
    queue.enqueue("true", id="a")
    holder = Holder(spool)
    sight = spool.reader.look("pending", "a.json")
    assert isinstance(sight, Ready)
    spool.claims.take(holder.name, "pending", "a.json", sight)
    bury(holder)
    drain(queue)
    assert [entry.outcome for entry in queue.get("a").job.history] == ["lost", "ok"]


def test_a_job_whose_claim_was_moved_away_is_not_written_again(
    queue: Queue,
    root: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    stands: Callable[[], list[str]],
) -> None:
    def move(worker: Worker) -> None:
        path = Path(eventually(lambda: (found := queue.get("a")).pid and found.path))
        path.rename(root / "dead" / "a.json")
        queue.stop_worker(worker.info.name, now=True)

    queue.enqueue("sleep 1000", id="a")
    work(queue, move)
    assert stands() == ["dead/a.json"]


def test_a_job_without_an_event_is_found_at_the_next_rescan(
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[..., Any],
) -> None:
    def add(worker: Worker) -> None:
        queue.wait([queue.enqueue("true")], timeout=20)
        worker.stop()

    monkeypatch.setattr(Worker, "_happened", lambda *_: None)
    assert work(queue, add).tally.ok == 1

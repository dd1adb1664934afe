"""Events that the kernel has dropped: what they would have told is found by a full scan."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.spool.spool import Spool
from queuectl.spool.watch import Watch
from queuectl.view.observer import NO_OBSERVER
from queuectl.worker.hooks import Hooks
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.intake import Intake
from queuectl.worker.worker import Worker

LATER = "9999-01-01T00:00:00Z"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def _overflow() -> None:
    """Let watchdog handle what the kernel reports when its queue of events is full."""
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

    event = InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b"")  # type: ignore[arg-type]  # an int is a mask
    InotifyFD.get_instance().handle_event(event)


@on_linux
def test_a_watch_notices_that_the_kernel_has_dropped_events(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)])
    try:
        assert watch.arm()
        before = watch.overflowed.is_set()
        _overflow()
        assert (before, watch.overflowed.is_set()) == (False, True)
    finally:
        watch.close()


def test_after_lost_events_the_known_files_are_looked_at_again(
    queue: Queue, spool: Spool, drop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, overflowed = [0.0], threading.Event()
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    intake = Intake(spool, Hooks(spool, "w", 1, changed=lambda: None))
    keeper = Housekeeper(intake, NO_OBSERVER, each_round=lambda: True, overflowed=overflowed)
    drop("a.json", f'{{"command": "true", "run_at": "{LATER}"}}')
    keeper._round()
    drop("a.json", '{"command": "true"}')
    now[0] += 100
    keeper._round()
    unnoticed = len(intake.backlog.scheduled())
    overflowed.set()
    keeper._round()
    assert (unnoticed, len(intake.backlog.scheduled())) == (1, 0)


@on_linux
def test_a_worker_runs_a_job_whose_change_was_among_the_lost_events(
    queue: Queue,
    root: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notify = Watch.notify

    def lose_and_report(worker: Worker) -> None:
        eventually(lambda: worker._housekeeper.been_round.is_set())
        assert len(worker._intake.backlog.scheduled()) == 1
        monkeypatch.setattr(Watch, "notify", lambda watch, *_: notify(watch))
        (root / "pending" / "a.json").write_text('{"command": "true"}')
        _overflow()
        eventually(lambda: queue.get("a").state == "completed", seconds=20)
        worker.stop()

    queue.enqueue("true", id="a", run_at=LATER)
    work(queue, lose_and_report)


def test_a_file_without_an_event_is_found_by_a_scan(
    queue: Queue, spool: Spool, drop: Callable[..., Path]
) -> None:
    intake = Intake(spool, Hooks(spool, "w", 1, changed=lambda: None))
    keeper = Housekeeper(intake, NO_OBSERVER, each_round=lambda: True, overflowed=threading.Event())
    drop("a.json")
    keeper._round()
    assert intake.backlog.names("pending") == {"a.json"}

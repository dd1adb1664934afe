"""Trouble of the process, and the ends of threads: nothing hangs, and nothing ends unseen."""

from __future__ import annotations

import errno
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import worker
from watchdog.observers.api import EventEmitter

from queuectl import Queue
from queuectl.process import waiting
from queuectl.spool.reader import Reader
from queuectl.spool.watch import Watch
from queuectl.worker import hooks, pauses, slot
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.slot import Slot
from queuectl.worker.worker import Worker

NO_DESCRIPTOR = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
Fail = Callable[..., list[int]]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let a call fail at its first `times` calls that `when` is true for; return their number."""

    def install(
        where: Any,
        name: str,
        error: BaseException = NO_DESCRIPTOR,
        times: int = 2,
        when: Callable[..., bool] = lambda *_: True,
    ) -> list[int]:
        call, failed = getattr(where, name), [0]

        def failing(*args: Any, **options: Any) -> Any:
            if failed[0] < times and when(*args):
                failed[0] += 1
                raise error
            return call(*args, **options)

        monkeypatch.setattr(where, name, failing)
        return failed

    return install


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE", 0.005)


def _is_main(*_: object) -> bool:
    return threading.current_thread().name not in ("housekeeper", "hook", "slot-1")


def _cannot_start(fail: Fail, name: str, times: int = 2) -> list[int]:
    error = RuntimeError("can't start new thread")
    return fail(
        threading.Thread, "start", error, times, lambda thread: thread.name.startswith(name)
    )


def test_a_main_thread_that_cannot_look_looks_again_later(
    queue: Queue, root: Path, work: Callable[..., Any], fail: Fail
) -> None:
    failed = fail(Reader, "workers", when=_is_main)

    def script(worker: Worker) -> None:
        for number in range(1000):
            (root / "workers" / f"peer-{number}.json").write_text("{}")  # a hint to look at them
            queue.wait([queue.enqueue("true")], timeout=20)
            if failed == [2]:
                break
        worker.stop()

    assert work(queue, script, slots=1).tally.ok >= 1
    assert failed == [2]


def test_a_drain_that_cannot_look_looks_again(
    queue: Queue, drain: Callable[..., Any], fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    queue.enqueue("true")
    failed = fail(Reader, "claims", when=_is_main)
    assert drain(queue, slots=1).ok == 1
    assert failed == [2]
    assert caplog.text.count("Too many open files") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_worker_without_a_free_descriptor_goes_on_when_there_are_some(
    queue: Queue, root: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with worker(root, tmp_path / "said") as it:
        pid = it.process.pid
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        first_free = min(set(range(len(used) + 1)) - used)
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, limits[1]))
        (root / "workers" / "peer.json").write_text("{}")
        job = queue.enqueue("true")
        eventually(lambda: "Too many open files" in it.said)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert queue.wait([job], timeout=30)[job] == "completed"
        assert it.runs


@pytest.mark.parametrize("what", ["thread", "descriptor"])
def test_a_hook_waits_for_what_its_thread_needs(
    queue: Queue, drain: Callable[..., Any], fail: Fail, told: Any, markers: Any, what: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    failed = _cannot_start(fail, "hook") if what == "thread" else fail(hooks, "StopSwitch")
    queue.enqueue("true", id="x")
    queue.enqueue("true", id="y")
    assert drain(queue, slots=1).ok == 2
    assert failed == [2]
    assert told() == ["done x", "done y", "idle"]
    assert markers() == []
    assert caplog.text.count("hooks wait: ") == 1


def test_a_worker_that_is_stopped_runs_the_hooks_whose_thread_could_not_start(
    queue: Queue, work: Callable[..., Any], fail: Fail, told: Any
) -> None:
    queue.unset_setting("on_idle")
    failed = _cannot_start(fail, "hook", times=3)

    def script(worker: Worker) -> None:
        queue.wait([queue.enqueue("true", id="x")], timeout=20)
        worker.stop()

    work(queue, script, slots=1)
    assert failed == [3]
    assert told() == ["done x"]


def test_a_worker_that_cannot_start_a_slot_does_not_start(
    queue: Queue, root: Path, work: Callable[..., Any], fail: Fail
) -> None:
    queue.enqueue("true", id="a")
    _cannot_start(fail, "slot-2", times=1)
    with pytest.raises(OSError, match="slot-2 cannot be started"):
        work(queue, slots=3)
    assert queue.get("a").state in ("pending", "completed")
    assert queue.workers() == []


def test_a_worker_whose_housekeeper_cannot_start_does_not_start(
    queue: Queue, work: Callable[..., Any], fail: Fail
) -> None:
    _cannot_start(fail, "housekeeper", times=1)
    with pytest.raises(OSError, match="housekeeper cannot be started"):
        work(queue)
    assert queue.workers() == []


def test_a_slot_that_has_no_descriptor_for_its_switch_does_not_start(
    queue: Queue, work: Callable[..., Any], fail: Fail
) -> None:
    fail(slot, "StopSwitch", times=1)
    with pytest.raises(OSError, match="Too many open files"):
        work(queue)
    assert queue.workers() == []


@pytest.mark.parametrize(
    ("owner", "name", "thread"), [(Slot, "_claim", "slot-1"), (Housekeeper, "_scan", "housekeeper")]
)
def test_a_thread_that_ends_by_a_bug_is_named_and_ends_the_worker(
    queue: Queue, work: Callable[..., Any], fail: Fail, owner: Any, name: str, thread: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    queue.enqueue("true", id="a")
    fail(owner, name, KeyError("oops"), times=1)
    with pytest.raises(KeyError):
        work(queue, slots=1)
    assert f"leaving: {thread} has ended by KeyError: 'oops'" in caplog.text


def test_a_hook_thread_that_ends_by_a_bug_is_counted_out_and_others_run_the_hooks(
    queue: Queue, drain: Callable[..., Any], fail: Fail, told: Any, markers: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    queue.enqueue("true", id="x")
    queue.enqueue("true", id="y")
    fail(hooks.Hooks, "_run", SystemExit("oops"), times=1)
    drain(queue, slots=1)
    assert told() in (["done x", "idle"], ["done y", "idle"])
    assert len(markers()) == 1  # it is left to the next worker
    assert "a thread of hooks has ended by SystemExit: oops" in caplog.text


def test_a_watch_without_a_thread_is_done_without(
    queue: Queue, drain: Callable[..., Any], fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    queue.enqueue("true", id="a")
    refused = RuntimeError("can't start new thread")
    fail(threading.Thread, "start", refused, 1, lambda thread: isinstance(thread, EventEmitter))
    assert drain(queue, slots=1).ok == 1
    assert "cannot watch the spool (can't start new thread)" in caplog.text


def test_a_wait_that_fails_is_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Poll:
        register = staticmethod(lambda *_: None)

        def poll(self, _: float) -> list[tuple[int, int]]:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    watch = Watch([])
    monkeypatch.setattr(watch, "_poll", Poll())
    watch.notify("/somewhere")
    try:
        assert watch.wait(0.01) == (["/somewhere"], False)
    finally:
        watch.close()


def test_the_switch_of_a_slot_is_closed_when_the_slot_has_ended(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[waiting.StopSwitch] = []
    close = waiting.StopSwitch.close

    def note(switch: waiting.StopSwitch) -> None:
        closed.append(switch)
        close(switch)

    monkeypatch.setattr(waiting.StopSwitch, "close", note)
    drain(queue, slots=3)
    assert len(closed) == 3


def test_a_worker_whose_spool_was_moved_away_says_so_once(root: Path, tmp_path: Path) -> None:
    with worker(root, tmp_path / "said") as it:
        root.rename(tmp_path / "elsewhere")
        assert it.left() == 1
        assert it.said.count("is gone: moved or removed") == 1
        assert it.said.splitlines()[-1].startswith("queuectl: error: ")

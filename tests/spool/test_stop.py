"""Stopping: gracefully, at once, by call, by file or by signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import NoSuchJob, SpoolUnusable
from queuectl.spool.claims import Claims
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool
from queuectl.spool.watch import Watch
from queuectl.worker.stopping import StopSignals
from queuectl.worker.worker import Worker


def _by_call(worker: Worker, queue: Queue, now: bool) -> None:
    if now:
        worker.stop_now()
    else:
        worker.stop()


def _by_file(worker: Worker, queue: Queue, now: bool) -> None:
    queue.stop_worker(worker.info.name, now=now)


def _by_signal(worker: Worker, queue: Queue, now: bool) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    if now:
        os.kill(os.getpid(), signal.SIGINT)


WAYS = pytest.mark.parametrize("ask", [_by_call, _by_file, _by_signal])


@WAYS
def test_a_worker_that_is_asked_to_stop_lets_its_jobs_end_and_takes_no_other(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    ask: Any,
) -> None:
    os.mkfifo(tmp_path / "go")
    queue.enqueue(f"cat {tmp_path}/go", id="running")
    queue.enqueue("true", id="waiting", priority=-1)

    def stop(worker: Worker) -> None:
        eventually(lambda: queue.get("running").pid)
        ask(worker, queue, False)
        eventually(lambda: worker._stopping)
        (tmp_path / "go").write_text("go")

    work(queue, stop, slots=1)
    assert queue.get("running").state == "completed"
    assert queue.get("waiting").state == "pending"
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


@WAYS
def test_a_worker_that_is_leaving_does_not_count_as_one_that_takes_jobs(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any], ask: Any
) -> None:
    queue.enqueue(f"until test -e {tmp_path}/go; do sleep 0.02; done", id="running")

    def stop(worker: Worker) -> None:
        eventually(lambda: queue.get("running").pid)
        assert not queue.workers()[0].leaving
        assert not queue.has_no_worker_for(1)
        ask(worker, queue, False)
        eventually(lambda: queue.workers()[0].leaving)
        eventually(lambda: worker._stopping)
        assert queue.workers()[0].alive
        assert not queue.workers()[0].takes_jobs
        assert queue.has_no_worker_for(1)
        (tmp_path / "go").touch()

    work(queue, stop, slots=1)
    assert queue.workers() == []


@WAYS
def test_a_worker_that_is_told_to_stop_now_puts_its_jobs_back_uncounted(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any], ask: Any
) -> None:
    queue.enqueue("sleep 1000", id="a")

    def stop(worker: Worker) -> None:
        eventually(lambda: queue.get("a").pid)
        ask(worker, queue, True)

    worker = work(queue, stop)
    found = queue.get("a")
    assert (found.state, found.job.attempts) == ("pending", 0)
    assert [entry.outcome for entry in found.job.history] == ["interrupted"]
    assert worker.tally.interrupted == 1
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


def test_a_job_that_was_interrupted_is_run_again_as_the_next_attempt(
    queue: Queue,
    tmp_path: Path,
    work: Callable[..., Any],
    drain: Callable[..., Any],
    eventually: Callable[..., Any],
) -> None:
    queue.enqueue("test $QUEUECTL_ATTEMPT = 2 || sleep 1000", id="a", max_retries=0)

    def stop(worker: Worker) -> None:
        eventually(lambda: queue.get("a").pid)
        worker.stop_now()

    work(queue, stop)
    drain(queue)
    assert [entry.outcome for entry in queue.get("a").job.history] == ["interrupted", "ok"]
    assert queue.get("a").job.attempts == 1


def test_a_worker_that_is_not_there_cannot_be_stopped(queue: Queue) -> None:
    with pytest.raises(NoSuchJob, match="no worker 'x'"):
        queue.stop_worker("x")


def test_the_handlers_of_signals_are_as_before(queue: Queue, drain: Callable[..., Any]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    drain(queue)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_worker_leaves_no_descriptor_behind(queue: Queue, drain: Callable[..., Any]) -> None:
    queue.enqueue_many({"command": "exit 1", "max_retries": 1} for _ in range(4))
    drain(queue)
    before = sorted(os.listdir("/proc/self/fd"))
    queue.enqueue_many({"command": "exit 1", "max_retries": 1} for _ in range(4))
    drain(queue)
    recover(queue.spool, grace=0, draw=0)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_spool_that_is_moved_away_ends_the_worker(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    def move(worker: Worker) -> None:
        eventually(worker._housekeeper.scanned.is_set)
        root.rename(root.with_name("elsewhere"))

    with pytest.raises(SpoolUnusable, match="is gone"):
        work(queue, move)


def test_a_drained_worker_waits_for_a_retry_but_not_for_what_is_scheduled(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    queue.enqueue("exit 1", id="a", max_retries=1)
    queue.enqueue("true", id="b", delay=3600)
    tally = drain(queue)
    assert (tally.failed, tally.dead, tally.scheduled) == (2, 1, 1)


def test_the_second_signal_asks_to_stop_now() -> None:
    watch, wishes = Watch([]), []
    signals = StopSignals(watch)
    try:
        with signals.caught():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                wishes.append(signals.wish)
                os.kill(os.getpid(), number)
        wishes.append(signals.wish)
    finally:
        watch.close()
    assert wishes == [None, "stop", "stop now", "stop now"]


def test_a_job_that_is_claimed_as_its_worker_stops_is_put_back(
    queue: Queue, work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop: list[Callable[[], None]] = []
    claim = Claims.take

    def too_late(*args: Any) -> Any:
        taken = claim(*args)
        stop[0]()
        return taken

    def enqueue(worker: Worker) -> None:
        stop.append(worker.stop)
        queue.enqueue("true", id="a")

    monkeypatch.setattr(Claims, "take", too_late)
    work(queue, enqueue)
    assert (queue.get("a").state, queue.get("a").job.history) == ("pending", [])


def test_a_drain_waits_for_what_another_worker_runs(
    queue: Queue, spool: Spool, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    queue.enqueue("true", id="a")
    with Holder(spool) as other:
        seen = spool.reader.look("pending", "a.json")
        assert isinstance(seen, Ready)
        claim = spool.claims.take(other.name, "pending", "a.json", seen)
        assert claim is not None

        def look_then_release(worker: Worker) -> None:
            eventually(worker._housekeeper.been_round.is_set)
            eventually(worker._knows_of_no_work)
            assert not worker._is_drained()
            spool.claims.release(claim)

        tally = work(queue, look_then_release, drain=True).tally
    assert (tally.ok, queue.get("a").state) == (1, "completed")

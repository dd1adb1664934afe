"""Processes of a failed attempt that cannot be ended: nothing of the job runs beside them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import eventually

from queuectl import Queue
from queuectl.process import survivors
from queuectl.worker.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs flock and /proc")

LEFT = "setsid sh -c 'echo $$ >> left; exec sleep 1000' & until test -s left; do sleep 0.01; done"


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[int]]]:
    """The processes that the job has left; a worker does not see them, as another user's."""
    monkeypatch.setattr(survivors, "find", lambda _: set())

    def read() -> list[int]:
        path = tmp_path / "left"
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    yield read
    for pid in read():
        if Path(f"/proc/{pid}/comm").exists():
            os.kill(pid, signal.SIGKILL)


def _starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().split())


def _job(tmp_path: Path) -> dict[str, Any]:
    command = f'echo x >> starts; test "$QUEUECTL_ATTEMPT" = 2 || {{ {LEFT}; exit 3; }}'
    return {"command": command, "id": "a", "cwd": tmp_path, "max_retries": 1}


def test_a_retry_waits_for_whoever_still_holds_the_lock(
    queue: Queue,
    tmp_path: Path,
    work: Callable[..., Worker],
    left: Callable[[], list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.enqueue(**_job(tmp_path))

    def script(worker: Worker) -> None:
        eventually(lambda: "cannot be ended" in caplog.text)
        assert (queue.get("a").state, _starts(tmp_path)) == ("processing", 1)
        assert queue.get("a").job.history == []
        os.kill(left()[0], signal.SIGKILL)
        queue.wait(["a"], timeout=20)
        worker.stop()

    work(queue, script)
    assert queue.get("a").state == "completed"
    assert [entry.exit_code for entry in queue.get("a").job.history] == [3, 0]


def test_a_worker_that_stops_now_leaves_such_a_claim_to_recovery(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Worker],
    left: Callable[[], list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.enqueue(**_job(tmp_path))

    def script(worker: Worker) -> None:
        eventually(lambda: "cannot be ended" in caplog.text)
        worker.stop_now()

    worker = work(queue, script)
    assert worker.tally.unsettled == 1
    assert (queue.get("a").state, queue.get("a").job.history) == ("processing", [])
    assert (root / "processing" / worker.name / "a.1.run").exists()
    assert len(left()) == 1


def test_an_attempt_is_not_settled_before_its_processes_have_ended(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    end = survivors.end

    def refuse(*args: Any, **options: Any) -> bool:
        found = queue.get("a")
        seen.append((found.state, len(found.job.history)))
        return len(seen) > 3 and end(*args, **options)

    monkeypatch.setattr(survivors, "end", refuse)
    queue.enqueue("exit 3", id="a", max_retries=0)
    drain(queue)
    assert seen == [("processing", 0)] * 4
    assert queue.get("a").state == "dead"

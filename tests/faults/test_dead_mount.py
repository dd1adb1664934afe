"""A file system that answers nothing, as NFS without its server: only those who need it wait."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.harness.mounts import FaultyDisk, faulty_disk, why_not
from helpers.processes import WorkerProcess, none_left, worker
from helpers.waiting import eventually

from queuectl import Queue

pytestmark = [
    pytest.mark.skipif(why_not("fuse") is not None, reason=str(why_not("fuse"))),
    pytest.mark.timeout(120),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    """A disk beside the spool."""
    with faulty_disk(tmp_path) as disk:
        (disk.path / "file").touch()
        yield disk


@pytest.fixture
def start(root: Path, tmp_path: Path, disk: FaultyDisk) -> Iterator[Callable[..., Any]]:
    """Start a worker; the disk answers again before the worker is ended."""
    with none_left(str(tmp_path / "job")):
        yield lambda *options: worker(root, tmp_path / "said", *options)
        disk.thaw()


def test_a_strangers_descriptor_on_a_dead_mount_holds_up_no_failing_job(
    queue: Queue, tmp_path: Path, disk: FaultyDisk, start: Callable[..., Any]
) -> None:
    with (disk.path / "file").open() as file:
        stranger = subprocess.Popen(["sleep", "1000"], stdin=file)
    # What it leaves holds the lock of its run file: so the descriptors of all are looked at.
    queue.enqueue(f"sh -c 'sleep 1000; : {tmp_path}/job' & exit 3", id="a", max_retries=0)
    disk.freeze()
    try:
        with start("--drain") as process:
            assert process.left() == 0
        assert queue.get("a").job.last_attempt.exit_code == 3
    finally:
        disk.thaw()
        stranger.kill()
        stranger.wait()


@pytest.fixture
def hung(queue: Queue, disk: FaultyDisk, start: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Start a worker and a job whose directory does not answer, and see that others run."""
    with start("--count", "2") as process:

        def begin(**options: Any) -> WorkerProcess:
            disk.freeze()
            queue.enqueue(**{"command": "true", "id": "a", "cwd": disk.path, **options})
            eventually(lambda: queue.get("a").state == "processing", "it is claimed")
            for number in range(3):
                queue.wait([queue.enqueue("exit 3", max_retries=0, id=f"b{number}")], timeout=20)
            assert queue.get("a").state == "processing"
            assert queue.get("a").pid is None
            found: WorkerProcess = process
            return found

        yield begin
        disk.thaw()


@pytest.mark.parametrize("on_it", ["directory", "program"])
def test_a_job_whose_directory_or_program_does_not_answer_waits_alone(
    queue: Queue, disk: FaultyDisk, hung: Callable[..., Any], on_it: str
) -> None:
    path = f"{disk.path}:/usr/bin:/bin"
    hung(
        **({} if on_it == "directory" else {"command": ["true"], "cwd": "/", "env": {"PATH": path}})
    )
    disk.thaw()
    queue.wait(["a"], timeout=20)
    assert [entry.outcome for entry in queue.get("a").job.history] == ["ok"]


def test_a_job_whose_directory_does_not_answer_is_cancelled(
    queue: Queue, hung: Callable[..., Any]
) -> None:
    hung()
    assert queue.cancel("a") == "processing"
    queue.wait(["a"], timeout=20)
    assert queue.get("a").job.last_attempt.outcome == "cancelled"


def test_a_job_whose_directory_does_not_answer_times_out(
    queue: Queue, disk: FaultyDisk, start: Callable[..., Any]
) -> None:
    disk.freeze()
    queue.enqueue("true", id="a", cwd=disk.path, max_retries=0, timeout=0.5)
    with start("--drain") as process:
        assert process.left() == 0
    assert queue.get("a").job.last_attempt.outcome == "timeout"
    assert queue.get("a").job.attempts == 1


def test_a_worker_leaves_a_job_whose_directory_does_not_answer(
    queue: Queue, hung: Callable[..., Any]
) -> None:
    process = hung()
    process.send(signal.SIGTERM)
    eventually(lambda: "stopping when" in process.said, "it is told to stop")
    process.send(signal.SIGTERM)
    assert process.left() == 0
    found = queue.get("a")
    assert (found.state, found.job.attempts) == ("pending", 0)
    assert found.job.last_attempt.outcome == "interrupted"

"""A real worker with all its threads, killed at its n-th call: every event that stands is told."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.harness import strace

from queuectl import Queue
from queuectl.worker.worker import Worker

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(600),
]

JOBS = 3
CALLS = ("rename", "renameat2", "fsync", "unlink", "mkdir", "rmdir")
"""Those that change a spool, and that none of the commands makes."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs nothing to fill and empty."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        yield Path(directory)


@pytest.fixture
def fresh(memory: Path) -> Callable[[], Queue]:
    """Make a queue with some jobs and a hook for every event, which writes it down."""

    def make() -> Queue:
        shutil.rmtree(memory / "spool", ignore_errors=True)
        (memory / "told").unlink(missing_ok=True)
        queue = Queue(memory / "spool")
        for key, value in {"kill_grace": "0.3", "backoff_base": "0", "max_retries": "1"}.items():
            queue.set_setting(key, value)
        for event in ("done", "dead", "idle"):
            queue.set_setting(
                f"on_{event}", f"echo $QUEUECTL_EVENT $QUEUECTL_JOB_ID >> {memory}/told"
            )
        queue.enqueue_many({"command": "true", "id": f"good-{n}"} for n in range(JOBS))
        queue.enqueue("false", id="bad", max_retries=0)
        return queue

    return make


@pytest.mark.parametrize("name", CALLS)
def test_a_worker_that_is_killed_leaves_no_event_untold(
    name: str, memory: Path, fresh: Callable[[], Queue], figures: Callable[..., None]
) -> None:
    points, wrong = 0, []
    for nth in range(1, 200):
        queue = fresh()
        inject = f"inject={name}:signal=SIGKILL:when={nth}"
        options = ["-f", "-o", str(memory / "log"), "-e", f"trace={name}", "-e", inject]
        end = strace.run(lambda: _drain(queue.path), options)  # noqa: B023 - called at once
        _drain(queue.path)  # the next worker
        wrong += [f"{name} {nth}: {line}" for line in _untold(queue, memory / "told")]
        if not end.killed:
            break
        points += 1

    figures("kill of a worker that runs hooks", points=points, violations=len(wrong))
    assert points > 0
    assert wrong == []


def _drain(path: str) -> int:
    return Worker(Queue(path).spool, 2, drain=True).run().ok


def _untold(queue: Queue, told: Path) -> Iterator[str]:
    lines = told.read_text().splitlines()
    for job_id in [*(f"good-{n}" for n in range(JOBS)), "bad"]:
        state = queue.get(job_id).state
        event = {"completed": "done", "dead": "dead"}[state]
        if f"{event} {job_id}" not in lines:
            yield f"{job_id} is {state}, and told was {lines}"
    if "idle" not in [line.strip() for line in lines]:
        yield f"nobody told that the queue is idle: {lines}"
    root = Path(queue.path)
    yield from (f"{path} is left" for path in (root / "processing").rglob("*"))

"""The limit on open files: a worker raises it, or refuses to start, and says the numbers."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from helpers.processes import worker

from queuectl import Queue
from queuectl.errors import QueuectlError
from queuectl.worker.descriptors import make_room


def _limited(soft: int, hard: int) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh")


@pytest.mark.parametrize(("slots", "soft", "hard"), [(3, 64, 64), (40, 64, 1024)])
def test_a_worker_does_with_a_low_limit_or_raises_it(
    queue: Queue, root: Path, tmp_path: Path, slots: int, soft: int, hard: int
) -> None:
    queue.set_setting("on_done", "sleep 0.1")
    ids = queue.enqueue_many({"command": "sleep 0.1", "max_retries": 0} for _ in range(2 * slots))
    options = ("--count", str(slots), "--drain")
    prefix = _limited(soft, hard)
    with worker(root, tmp_path / "said", *options, prefix=prefix, wait=False) as it:
        assert it.left(60) == 0
        assert it.complaints == []
    for job_id in ids:
        found = queue.get(job_id)
        assert (found.state, len(found.job.history)) == ("completed", 1)


def test_a_worker_with_too_low_a_limit_refuses_to_start_with_the_numbers(
    queue: Queue, root: Path, tmp_path: Path
) -> None:
    queue.enqueue("true", id="a")
    prefix = _limited(64, 64)
    with worker(root, tmp_path / "said", "--count", "40", prefix=prefix, wait=False) as it:
        assert it.left() == 1
        assert it.said == (
            "queuectl: error: 40 slots may need 432 open files, and this process may have 64: "
            "start at most 3, or raise the limit (ulimit -n)\n"
        )
    assert queue.get("a").state == "pending"
    assert queue.workers() == []


def test_too_low_a_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    make_room(3)
    with pytest.raises(QueuectlError, match="this process may have 64"):
        make_room(4)

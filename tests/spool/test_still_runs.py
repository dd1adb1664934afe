"""A job moved back by hand while its command runs: it waits, and costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import worker

from queuectl import Queue
from queuectl.disk.durable import Disk
from queuectl.spool.reader import Reader
from queuectl.worker import postponed
from queuectl.worker.worker import Worker


@pytest.mark.parametrize("whose", ["another worker's", "this worker's"])
def test_a_job_whose_command_runs_is_claimed_once_and_then_only_its_lock_is_looked_at(
    queue: Queue, root: Path, tmp_path: Path, work: Callable[..., Any],
    eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, whose: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(postponed, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(postponed, "LONGEST_PAUSE", 0.05)
    wait_for_gate = f"until test -e {tmp_path}/gate; do sleep 0.02; done"
    queue.enqueue(f"echo ran >> {tmp_path}/runs; {wait_for_gate}", id="x")
    take, is_running = Disk.take, Reader.is_running
    takes, looks = [], []

    def noted_take(disk: Disk, source: str, target: str) -> list[str]:
        takes.append(source)
        return take(disk, source, target)

    def noted_look(reader: Reader, path: str) -> bool:
        looks.append(path)
        return is_running(reader, path)

    monkeypatch.setattr(Disk, "take", noted_take)
    monkeypatch.setattr(Reader, "is_running", noted_look)

    def script(mine: Worker) -> None:
        eventually(lambda: queue.get("x").pid)
        [claimed] = (root / "processing").glob("*/x.1.json")
        takes.clear()
        claimed.rename(root / "pending" / "x.json")
        eventually(lambda: len(looks) >= 10)
        assert len(takes) <= 1
        (tmp_path / "gate").touch()
        queue.wait(["x"], timeout=20)
        mine.stop()

    if whose == "this worker's":
        work(queue, script, slots=2)
    else:
        with worker(root, tmp_path / "said"):
            eventually(lambda: queue.get("x").pid)
            work(queue, script, slots=1)
    assert (tmp_path / "runs").read_text().split() == ["ran", "ran"]

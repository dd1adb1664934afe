"""A job that somebody moves out of processing/ while it runs is never run twice at the same time.

Its file is known by its inode, whatever name it is given, and as long as a process of the command
lives, the lock of the run file is held.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk.locks import make_locked
from queuectl.errors import StillRuns
from queuectl.record.running import Run, content
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim, Ready
from queuectl.spool.recovery import recover
from queuectl.worker import attempt
from queuectl.worker.worker import Worker

ONE_AT_A_TIME = """
mkdir busy || echo twice >> runs
echo once >> runs
while [ ! -e go ]; do sleep 0.02; done
rmdir busy
"""
MOVES = [
    pytest.param('"id": "x", ', "pending/x.json", id="to its place"),
    pytest.param('"id": "x", ', "pending/x.1.json", id="under its claim's name"),
    pytest.param("", "pending/x.1.json", id="under its claim's name, without an id inside"),
    pytest.param("", "pending/y.json", id="under another name, without an id inside"),
    pytest.param('"id": "x", ', "failed/x.1.json", id="to failed under its claim's name"),
]


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str], str]:
    (tmp_path / "job").write_text(ONE_AT_A_TIME)
    return lambda more: f'{{{more}"command": "sh job", "cwd": "{tmp_path}"}}'


@pytest.mark.parametrize(("inside", "to"), MOVES)
def test_it_waits_for_the_end_of_its_command_and_runs_again_under_its_id(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    drop: Callable[..., Path],
    text: Callable[[str], str],
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    inside: str,
    to: str,
) -> None:
    runs = tmp_path / "runs"

    def move(worker: Worker) -> None:
        claim = root / "processing" / worker.name / "x.1.json"
        eventually(lambda: runs.exists() and runs.read_text() and claim.exists())
        claim.rename(root / to)
        eventually(lambda: bool(worker._intake.postponed), "it cannot be claimed yet")
        assert runs.read_text() == "once\n"
        (tmp_path / "go").touch()
        eventually(lambda: queue.get("x").state == "completed")
        worker.stop()

    drop("x.json", text(inside))
    work(queue, move)
    assert runs.read_text() == "once\nonce\n"
    assert len(queue.get("x").job.history) == 1


def test_it_does_not_start_if_it_was_moved_before_its_run_file_was_there(
    queue: Queue, root: Path, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_a_move(path: str, *more: Any) -> int:
        if not moved:
            moved.append(path)
            Path(path).with_suffix(".json").rename(root / "pending" / "y.json")
        return make_locked(path, *more)

    moved: list[str] = []
    monkeypatch.setattr(attempt, "make_locked", after_a_move)
    queue.enqueue(f"echo once >> {root}/../runs", id="x")
    drain(queue)
    assert (root / ".." / "runs").read_text() == "once\n"
    assert queue.get("x").state == "completed"


def _take(queue: Queue, holder: Holder, name: str) -> Claim | None:
    seen = queue.spool.reader.look("pending", name)
    assert isinstance(seen, Ready)
    return queue.spool.claims.take(holder.name, "pending", name, seen)


@pytest.mark.parametrize("name", ["x.json", "x.1.json", "y.json"])
def test_recovery_keeps_what_tells_that_it_runs(
    queue: Queue, root: Path, drop: Callable[..., Path], name: str
) -> None:
    """The command runs on a host that recovery cannot look into."""
    drop("x.json")
    dead = Holder(queue.spool)
    claim = _take(queue, dead, "x.json")
    assert claim is not None
    run_path = Path(claim.path).with_suffix(".run")
    command = make_locked(str(run_path), queue.spool.layout.staged(), 0o600)
    about = Run(
        attempt=1, slot=1, host="another", boot_id="another", pid=1,
        inode=claim.inode, started_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    os.write(command, content(about))
    Path(claim.path).rename(root / "pending" / name)
    os.close(dead._lock)
    with Holder(queue.spool) as holder:
        assert recover(queue.spool, grace=0, draw=0) == []
        assert run_path.exists()
        with pytest.raises(StillRuns):
            _take(queue, holder, name)
        os.close(command)
        recover(queue.spool, grace=0, draw=0)
        assert not run_path.exists()
        again = _take(queue, holder, "x.json")
        assert again is not None
        assert (again.id, again.attempt) == ("x", 1)


@pytest.mark.parametrize("act", ["cancel", "retry"])
def test_it_is_neither_cancelled_nor_retried_while_it_runs(
    queue: Queue, root: Path, drop: Callable[..., Path], act: str
) -> None:
    drop("x.json")
    with Holder(queue.spool) as holder:
        claim = _take(queue, holder, "x.json")
        assert claim is not None
        path = Path(claim.path).with_suffix(".run")
        command = make_locked(str(path), queue.spool.layout.staged(), 0o600)
        Path(claim.path).rename(root / "failed" / "x.json")
        with pytest.raises(StillRuns, match="wait for its command's end"):
            getattr(queue, act)("x")
        assert (root / "failed" / "x.json").exists()
        os.close(command)
        getattr(queue, act)("x")

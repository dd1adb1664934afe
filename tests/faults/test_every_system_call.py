"""Each operation, broken at every system call that touches the spool."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.harness import disks
from faults.harness.operations import HOOK_OPERATIONS, OPERATIONS, Operation
from faults.harness.sweep import Bench

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(600),
]
each_operation = pytest.mark.parametrize(
    "operation", [*OPERATIONS, *HOOK_OPERATIONS], ids=lambda each: each.name
)

EVERY_READ = bool(os.environ.get("QUEUECTL_EVERY_READ"))


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs nothing to fill and empty."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        yield Path(directory)


@each_operation
@pytest.mark.parametrize("fault", ["kill", "ENOSPC", "EIO"])
def test_nothing_is_lost_when_a_call_fails(
    operation: Operation, fault: str, memory: Path, figures: Callable[..., None]
) -> None:
    bench = Bench(operation, memory)
    calls = [call for call in bench.calls() if call.changes]  # reading fills no disk, and a kill
    points, violations, _ = bench.sweep(calls, fault)  # then leaves what the change before it left

    figures(f"{fault} at a system call", points=points, violations=len(violations))
    assert points > 0
    assert violations == []


@each_operation
def test_nothing_is_lost_when_a_read_fails(
    operation: Operation, memory: Path, figures: Callable[..., None]
) -> None:
    """By an error that a server gives: no list of errors of a failing disk has it."""
    bench = Bench(operation, memory)
    calls = [call for call in bench.calls() if not call.changes]
    points, violations, _ = bench.sweep(calls[:: 1 if EVERY_READ else 6], "ETIMEDOUT")

    figures("ETIMEDOUT at a read", points=points, violations=len(violations))
    assert points > 0
    assert violations == []


@each_operation
@pytest.mark.parametrize("kind", disks.KINDS)
def test_nothing_is_lost_when_the_power_is_cut(
    operation: Operation, kind: str, tmp_path: Path, figures: Callable[..., None]
) -> None:
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        bench = Bench(operation, tmp_path, disk)
        done = bench.plain()
        calls = [call for call in bench.calls() if call.changes]
        points, violations, _ = bench.sweep(calls, "kill")
    finally:
        disk.close()

    figures(f"power cut on {kind} at a system call", points=points + 1,
            violations=len(violations) + len(done.violations))  # fmt: skip
    assert done.violations == []
    assert violations == []


@pytest.mark.parametrize(
    "operation",
    # A spool that is half made holds no job yet; there it may have to be removed by hand.
    [each for each in OPERATIONS if each.name != "make a spool"],
    ids=lambda each: each.name,
)
def test_without_a_journal_a_cut_takes_at_most_what_was_not_acknowledged(
    operation: Operation, tmp_path: Path, figures: Callable[..., None]
) -> None:
    """Half a rename may be on the disk there: what is promised then, and what is not."""
    kind = "ext4 without a journal"
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        bench = Bench(operation, tmp_path, disk, renames_tear=True)
        done = bench.plain()
        calls = [call for call in bench.calls() if call.changes]
        points, violations, nameless = bench.sweep(calls, "kill")
    finally:
        disk.close()

    figures(f"power cut on {kind}, half of what changed on the disk", points=points + 1,
            nameless=nameless, violations=len(violations) + len(done.violations))  # fmt: skip
    assert done.violations == []
    assert violations == []

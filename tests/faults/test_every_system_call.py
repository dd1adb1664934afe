"""Each operation, broken at every system call that changes the spool."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.harness import disks
from faults.harness.errnos import EVERY_POINT
from faults.harness.operations import HOOK_OPERATIONS, OPERATIONS, Operation
from faults.harness.strace import Call
from faults.harness.sweep import Bench

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(600),
]
ALL = [*OPERATIONS, *HOOK_OPERATIONS]
MOVE_NOTHING = ("claim", "config set", "purge", "enrol and leave")
"""The operations that give no file a name that must be free: they link nothing."""
each_operation = pytest.mark.parametrize("operation", ALL, ids=lambda each: each.name)
each_that_links = pytest.mark.parametrize(
    "operation", [each for each in ALL if each.name not in MOVE_NOTHING], ids=lambda each: each.name
)


@each_operation
@pytest.mark.parametrize("fault", ["kill", "ENOSPC", "EIO"])
def test_nothing_is_lost_when_a_call_fails(
    operation: Operation, fault: str, memory: Path, figures: Callable[..., None]
) -> None:
    """A kill while reading leaves what the change before it left: of errors see the next file."""
    bench = Bench(operation, memory)
    calls = [call for call in bench.calls() if call.changes]

    points, violations, _ = bench.sweep(calls, fault)

    figures(f"{fault} at a system call", points=points, violations=len(violations))
    assert points > 0
    assert violations == []


@each_that_links
@pytest.mark.parametrize("fault", ["kill", "ENOSPC", "EIO"])
@pytest.mark.usefixtures("no_exclusive_rename")
def test_nor_where_a_move_is_a_link_and_an_unlink(
    operation: Operation, fault: str, memory: Path, figures: Callable[..., None]
) -> None:
    bench = Bench(operation, memory)

    points, violations, _ = bench.sweep(around_links(bench.calls()), fault)

    figures(f"{fault} at a system call, without RENAME_NOREPLACE", points=points,
            violations=len(violations))  # fmt: skip
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


@each_that_links
@pytest.mark.parametrize("kind", disks.KINDS if EVERY_POINT else ["one of them"])
@pytest.mark.usefixtures("no_exclusive_rename")
def test_nor_when_it_is_cut_between_a_link_and_an_unlink(
    operation: Operation, kind: str, tmp_path: Path, figures: Callable[..., None]
) -> None:
    if kind not in disks.KINDS:
        kind = [*disks.KINDS][ALL.index(operation) % len(disks.KINDS)]
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        bench = Bench(operation, tmp_path, disk)
        points, violations, _ = bench.sweep(around_links(bench.calls()), "kill")
    finally:
        disk.close()

    figures(f"power cut on {kind}, without RENAME_NOREPLACE", points=points,
            violations=len(violations))  # fmt: skip
    assert points > 0
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


def around_links(calls: list[Call]) -> list[Call]:
    """List the calls that change something: those from a link to the second after its unlink.

    The others are the same with an exclusive rename. All of them with QUEUECTL_EVERY_POINT.
    """
    changing = [call for call in calls if call.changes]
    if EVERY_POINT:
        return changing
    links = [at for at, call in enumerate(changing) if call.name in ("link", "linkat")]
    return [call for at, call in enumerate(changing) if any(0 <= at - link < 4 for link in links)]

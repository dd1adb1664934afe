"""The sweep can fail: each of five mistakes that are easily made is caught by it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.harness import disks
from faults.harness.operations import OPERATIONS
from faults.harness.sweep import Bench

from queuectl import fsio

OPERATION = {each.name: each for each in OPERATIONS}
_fsync, _write = fsio.Disk._fsync, fsio.Disk.write


def _no_file_fsync(disk: fsio.Disk, fd: int, path: str) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _fsync(disk, fd, path)


def _no_directory_fsync(disk: fsio.Disk, fd: int, path: str) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        _fsync(disk, fd, path)


def _write_only(disk: fsio.Disk, path: str, data: bytes) -> None:
    _write(fsio.Disk(sync=False, file_mode=disk.file_mode), path, data)


def _name_synced_before_content(disk: fsio.Disk, staged: str, target: str) -> None:
    fsio._rename_exclusive(staged, target)
    disk.sync_dir(os.path.dirname(target))
    disk._sync_path(target, os.O_RDONLY)


def _source_synced_first(disk: fsio.Disk, source: str, target: str) -> None:
    fsio._rename_exclusive(source, target)
    disk.sync_dir(os.path.dirname(source))
    disk.sync_dir(os.path.dirname(target))


NO_FILE_FSYNC = {"_fsync": _no_file_fsync}
NO_DIRECTORY_FSYNC = {"_fsync": _no_directory_fsync}
CONTENT_LATE = {"write": _write_only, "publish": _name_synced_before_content}
SOURCE_FIRST = {"move": _source_synced_first}
JOURNALLED = ("ext4", "xfs", "btrfs")
UNJOURNALLED = ("ext4 without a journal",)
CASES = [
    *((kind, NO_FILE_FSYNC, "publish", "torn") for kind in JOURNALLED),
    # The name is there, but not the inode behind it: e2fsck removes the name.
    *((kind, NO_FILE_FSYNC, "publish", "new is absent") for kind in UNJOURNALLED),
    *((kind, NO_DIRECTORY_FSYNC, "publish", "new is absent") for kind in disks.KINDS),
    *((kind, CONTENT_LATE, "publish", "torn") for kind in JOURNALLED),
    # The other three never bring the removal of a name to disk before the new name.
    *((kind, SOURCE_FIRST, "cancel", "waits is absent") for kind in UNJOURNALLED),
]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    ("kind", "mistake", "operation", "sign"),
    [pytest.param(*case, id=f"{case[0]}-{', '.join(case[1])}-{case[3]}") for case in CASES],
)
def test_a_mistake_with_fsync_is_caught_by_a_power_cut(
    kind: str, mistake: dict[str, Callable[..., None]], operation: str, sign: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    for name, wrong in mistake.items():
        monkeypatch.setattr(fsio.Disk, name, wrong)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        bench = Bench(OPERATION[operation], tmp_path, disk)
        found = bench.plain().violations
        calls = [call for call in bench.calls() if call.changes]
        found += bench.sweep(calls, "kill").violations
    finally:
        disk.close()

    assert any(sign in line for line in found), found


def test_a_rename_that_overwrites_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsio, "_rename_exclusive", os.rename)

    found = Bench(OPERATION["settle onto a taken name"], tmp_path).plain().violations

    assert found != []

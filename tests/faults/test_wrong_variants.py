"""The sweep can fail: each of three mistakes that are easily made is caught by it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.harness import disks
from faults.harness.operations import OPERATIONS
from faults.harness.sweep import Bench

from queuectl import fsio

OPERATION = {each.name: each for each in OPERATIONS}
_fsync = fsio.Disk._fsync


def _no_file_fsync(disk: fsio.Disk, fd: int, path: str) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _fsync(disk, fd, path)


def _no_directory_fsync(disk: fsio.Disk, fd: int, path: str) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        _fsync(disk, fd, path)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize(
    ("mistake", "sign"), [(_no_file_fsync, "torn"), (_no_directory_fsync, "absent")]
)
def test_a_missing_fsync_is_caught_by_a_power_cut(
    mistake: Callable[..., None], sign: str, kind: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    monkeypatch.setattr(fsio.Disk, "_fsync", mistake)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        found = Bench(OPERATION["publish"], tmp_path, disk).plain().violations
    finally:
        disk.close()

    assert any(sign in line for line in found), found


def test_a_rename_that_overwrites_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsio, "_rename_exclusive", os.rename)

    found = Bench(OPERATION["settle onto a taken name"], tmp_path).plain().violations

    assert found != []

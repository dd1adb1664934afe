"""The sweep can fail: each of five mistakes that are easily made is caught by it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.harness import disks
from faults.harness.operations import OPERATIONS
from faults.harness.sweep import Bench

from queuectl import fsio, markers
from queuectl.hooks import Hooks
from queuectl.spool import Spool

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


def _unsynced(spool: Spool, path: str, data: bytes) -> None:
    staged = spool.layout.staged()
    fsio.Disk(sync=False).write(staged, data)
    os.rename(staged, path)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_marker_that_is_not_synced_is_caught_by_a_power_cut(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    disk = disks.LoopDisk(tmp_path / "disk", kind)
    try:
        bench = Bench(OPERATION["claim, run, settle with a hook"], tmp_path, disk)
        monkeypatch.setattr(Spool, "write_beside", _unsynced)
        found = bench.plain().violations
    finally:
        disk.close()

    assert any("told was []" in line for line in found), found


def test_a_marker_that_comes_after_its_event_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = []

    def announce_later(hooks: Hooks, *args: Any, again: str | None) -> None:
        late.append(lambda: markers.put_for(hooks._spool, *args))

    monkeypatch.setattr(Hooks, "announce", announce_later)
    monkeypatch.setattr(Hooks, "happened", lambda *_: late.pop()() and None)
    bench = Bench(OPERATION["claim, run, settle with a hook"], tmp_path)

    assert bench.plain().violations == []
    found = bench.sweep([call for call in bench.calls() if call.changes], "kill").violations

    assert any("told was []" in line for line in found), found

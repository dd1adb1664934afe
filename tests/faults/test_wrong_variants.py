"""The sweep can fail: each of eight mistakes that are easily made is caught by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.harness import disks
from faults.harness.operations import OPERATIONS
from faults.harness.sweep import Bench

from queuectl.disk import durable, filesystem, renames
from queuectl.disk.filesystem import FileSystem
from queuectl.spool import hook_markers
from queuectl.spool.spool import Spool
from queuectl.worker.hooks import Hooks

OPERATION = {each.name: each for each in OPERATIONS}
_write = durable.Disk.write


def _nothing(*_: object) -> None:
    pass


def _write_only(disk: durable.Disk, path: str, data: bytes) -> None:
    _write(durable.Disk(sync=False, file_mode=disk.file_mode), path, data)


def _name_synced_before_content(disk: durable.Disk, staged: str, target: str) -> None:
    renames.exclusive(staged, target)
    disk.commit(os.path.dirname(target))
    disk._sync_path(target, os.O_RDONLY)


def _source_first(disk: durable.Disk, source: str, target: str) -> list[str]:
    renames.exclusive(source, target)
    return [os.path.dirname(source), os.path.dirname(target)]


def _has_one_log(_: str) -> FileSystem:
    return FileSystem(has_one_log=True)


Mistake = dict[str, Callable[..., object]]
NO_FILE_FSYNC: Mistake = {"Disk._force": _nothing}
NO_DIRECTORY_FSYNC: Mistake = {"Disk.commit": _nothing}
CONTENT_LATE: Mistake = {"Disk.write": _write_only, "Disk.publish": _name_synced_before_content}
SOURCE_FIRST: Mistake = {"Disk.move": _source_first}
TRUSTED_TOO_FAR: Mistake = {"about": _has_one_log}
JOURNALLED = ("ext4", "xfs", "btrfs")
UNJOURNALLED = ("ext4 without a journal",)
CASES: list[tuple[str, Mistake, str, str]] = [
    *((kind, NO_FILE_FSYNC, "publish", "torn") for kind in JOURNALLED),
    # The name is there, but not the inode behind it: e2fsck removes the name.
    *((kind, NO_FILE_FSYNC, "publish", "new is absent") for kind in UNJOURNALLED),
    *((kind, NO_DIRECTORY_FSYNC, "publish", "new is absent") for kind in disks.KINDS),
    *((kind, CONTENT_LATE, "publish", "torn") for kind in JOURNALLED),
    # The other three never bring the removal of a name to disk before the new name.
    *((kind, SOURCE_FIRST, "cancel", "waits is absent") for kind in UNJOURNALLED),
    ("btrfs", TRUSTED_TOO_FAR, "publish", "torn"),
    ("ext4 without a journal", TRUSTED_TOO_FAR, "publish", "new is absent"),
]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    ("kind", "mistake", "operation", "sign"),
    [pytest.param(*case, id=f"{case[0]}-{', '.join(case[1])}-{case[3]}") for case in CASES],
)
def test_a_mistake_with_fsync_is_caught_by_a_power_cut(
    kind: str, mistake: Mistake, operation: str, sign: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if missing := disks.why_not(kind):
        pytest.skip(missing)
    for name, wrong in mistake.items():
        where = durable.Disk if name.startswith("Disk.") else filesystem
        monkeypatch.setattr(where, name.removeprefix("Disk."), wrong)
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
    monkeypatch.setattr(renames, "exclusive", os.rename)

    found = Bench(OPERATION["settle onto a taken name"], tmp_path).plain().violations

    assert found != []


def _unsynced(spool: Spool, path: str, data: bytes) -> None:
    staged = spool.layout.staged()
    durable.Disk(sync=False).write(staged, data)
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


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_marker_that_comes_after_its_event_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = []

    def announce_later(hooks: Hooks, *args: Any, again: str | None) -> None:
        late.append(lambda: hook_markers.put_for(hooks._spool, *args))

    monkeypatch.setattr(Hooks, "announce", announce_later)
    monkeypatch.setattr(Hooks, "happened", lambda *_: late.pop()() and None)
    bench = Bench(OPERATION["claim, run, settle with a hook"], tmp_path)

    assert bench.plain().violations == []
    found = bench.sweep([call for call in bench.calls() if call.changes], "kill").violations

    assert any("told was []" in line for line in found), found

"""Which directories a commit forces to disk, and when."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from queuectl.disk.durable import Disk
from queuectl.disk.filesystem import FileSystem
from queuectl.errors import NotDurable


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []
    monkeypatch.setattr(Disk, "_sync_path", lambda _, path, *__: paths.append(path))
    return paths


@pytest.mark.parametrize(
    ("has_one_log", "at_once", "later"),
    [(False, ["a", "b"], ["c"]), (True, [], ["c"])],
    ids=["each by itself", "one log"],
)
def test_only_where_one_log_orders_them_is_a_directory_left_out(
    synced: list[str], has_one_log: bool, at_once: list[str], later: list[str]
) -> None:
    disk = Disk(on=FileSystem(has_one_log=has_one_log))
    owed = disk.commit_later("a", "b", "c") if not has_one_log else ["a", "b", "c"]
    assert synced == at_once
    synced.clear()
    disk.commit(*owed)
    assert synced == later


def test_a_directory_that_cannot_be_synced_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(NotDurable, match="Input/output error"):
        Disk().commit(str(tmp_path))
    Disk(sync=False).commit(str(tmp_path))


def test_the_files_of_a_batch_have_the_mode_of_every_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    assert Disk(file_mode=0o660).write_many([(path, b"1")]) == [path]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660

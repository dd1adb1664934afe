"""Locks on files: a lock belongs to the file, not to its name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.disk.locks import is_locked, make_locked, try_lock


def test_a_lock_that_is_held_is_not_had_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    fd = make_locked(path, f"{path}.new", 0o600)
    assert (try_lock(path), is_locked(path)) == (None, True)
    os.close(fd)
    assert not is_locked(path)


@pytest.mark.parametrize("meanwhile", ["removed", "replaced"])
def test_the_lock_of_a_file_that_has_lost_its_name_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    path = tmp_path / "lock"
    path.touch()
    flock: Callable[[int, int], None] = fcntl.flock

    def too_late(fd: int, how: int) -> None:
        path.rename(tmp_path / "old")
        if meanwhile == "replaced":
            path.touch()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    before = os.listdir("/dev/fd")
    with pytest.raises(FileNotFoundError):
        try_lock(str(path))
    assert os.listdir("/dev/fd") == before

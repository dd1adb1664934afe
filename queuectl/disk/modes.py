"""Modes of files and directories: of those that were looked at, not of what has their names now.

Whoever may write to a directory can put a symbolic link where a file was, between the look and the
change. chmod(2) follows it, and a root's chmod changes any file.
"""

from __future__ import annotations

import errno
import os

_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def change_mode(root: str, path: str, seen: os.stat_result, mode: int) -> None:
    """Change the mode of a file or directory below `root`, as it was `seen` (its lstat).

    Raises OSError if a part of the path below `root` is a symbolic link, or if what is there is not
    what was seen: another file, or the same file with another mode.
    """
    fd = _open_below(root, path)
    try:
        found = os.fstat(fd)
        if not os.path.samestat(found, seen) or found.st_mode != seen.st_mode:
            raise FileNotFoundError(errno.ENOENT, "changed since it was looked at", path)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def set_new_mode(path: str, mode: int) -> None:
    """Set the mode of a directory that was just made. Raises OSError if it is a symbolic link."""
    fd = os.open(path, _LOOK | os.O_DIRECTORY)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _open_below(root: str, path: str) -> int:
    """Open a path below `root`, step by step: no step follows a symbolic link."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in os.path.relpath(path, root).split("/"):
        try:
            below = os.open(name, _LOOK, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd

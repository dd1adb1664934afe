"""File locks that their holder keeps for life: the kernel releases them when it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from queuectl.disk.durable import create, discard


def make_locked(path: str, staged: str, mode: int) -> int:
    """Make a lock file that nobody has ever seen unlocked, and return its descriptor.

    It is locked under its temporary name and then renamed: a lock belongs to the file, not to
    its name. The lock is held until every copy of the descriptor is closed.
    """
    fd = create(staged, os.O_RDWR | os.O_EXCL, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.rename(staged, path)
    except BaseException:
        os.close(fd)
        discard(staged)
        raise
    return fd


def try_lock(path: str, *, make_with: int | None = None) -> int | None:
    """Take a file's lock without waiting; None while another holds it.

    `make_with` is the mode to make it with if it is not there. Raises FileNotFoundError if the
    file is gone, also if it went while we took the lock.
    """
    if make_with is not None:
        fd = create(path, os.O_RDWR, make_with)
    else:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
        raise FileNotFoundError(errno.ENOENT, "replaced while it was locked", path)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise


@contextlib.contextmanager
def locked(path: str, mode: int) -> Iterator[None]:
    """Hold a lock file's lock, waiting for it; the file stays, so that all lock the same one."""
    fd = create(path, os.O_RDWR, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_locked(path: str) -> bool:
    """Return whether a process holds a file's lock; False if the file is missing.

    Raises OSError where that cannot be known.
    """
    try:
        lock = try_lock(path)
    except FileNotFoundError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None

"""File locks that a process holds for as long as it runs: the kernel releases them at its end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from queuectl.disk.durable import create, discard


def make_locked(path: str, staged: str, mode: int) -> int:
    """Make a lock file that no process ever sees unlocked; return its descriptor.

    The file is locked under the name `staged` and then renamed to `path`: the lock belongs to
    the file, not to its name. It is held until every copy of the descriptor is closed.
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


def try_lock(path: str, *, make_with: int | None = None, is_new: bool = False) -> int | None:
    """Lock a file without waiting and return its descriptor; None if the lock is held already.

    With `make_with`, a mode, a missing file is made; with `is_new` too it must be missing, else
    raises FileExistsError. Raises FileNotFoundError if the file is missing, or was removed or
    replaced before the lock was held.
    """
    if make_with is not None:
        fd = create(path, os.O_RDWR | (os.O_EXCL if is_new else 0), make_with)
    else:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
        raise FileNotFoundError(errno.ENOENT, "replaced before it was locked", path)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise


@contextlib.contextmanager
def locked(path: str, mode: int) -> Iterator[None]:
    """Wait for a file's lock and hold it. The file is never removed: all lock the same file."""
    fd = create(path, os.O_RDWR, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_locked(path: str) -> bool:
    """Return whether a process holds a file's lock; False if the file is missing.

    Raises OSError if that cannot be found out.
    """
    try:
        lock = try_lock(path)
    except FileNotFoundError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None

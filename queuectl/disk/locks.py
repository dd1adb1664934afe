"""File locks that a process holds for as long as it runs: the kernel releases them at its end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from queuectl import clock, slot_lock
from queuectl.disk.durable import create, discard
from queuectl.disk.renames import rename
from queuectl.errors import QueuectlError

LONGEST_WAIT = 30.0
"""Seconds to wait for a lock that is held for short. The longest that is known is the batch of
200,000 jobs with ids of their own, which holds one for this long; one job takes a millisecond."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two tries to take a lock: they double. flock(2) has no time limit."""


def make_locked(path: str, staged: str, mode: int) -> int:
    """Make a lock file that no process ever sees unlocked; return its descriptor.

    The file is locked under the name `staged` and then renamed to `path`: the lock belongs to
    the file, not to its name. It is held until every copy of the descriptor is closed.
    """
    fd = create(staged, os.O_RDWR | os.O_EXCL, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        rename(staged, path)
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
        if os.path.samestat(os.lstat(path), os.fstat(fd)):
            return fd
        raise FileNotFoundError(errno.ENOENT, "replaced before it was locked", path)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise


@contextlib.contextmanager
def locked(path: str, mode: int, patience: float | None = None) -> Iterator[None]:
    """Wait for a file's lock and hold it. The file is never removed: all lock the same file.

    Raises QueuectlError, which names the process that holds the lock, after `patience` seconds,
    LONGEST_WAIT by default: the holder may be stopped, or hang on a disk that does not answer.
    """
    patience = LONGEST_WAIT if patience is None else patience
    fd = create(path, os.O_RDWR, mode)
    try:
        deadline, pause = clock.monotonic() + patience, _FIRST_PAUSE
        while not _lock(fd):
            if clock.monotonic() >= deadline:
                raise held_too_long(path, patience)
            with slot_lock.released():
                time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_too_long(path: str, waited: float) -> QueuectlError:
    """Make the error of a process that has waited for a lock in vain, `waited` seconds."""
    return QueuectlError(
        f"{path} has been locked for {waited:g} s by {_holder(path)}: let that process end, "
        "or kill it, and try again"
    )


def _holder(path: str) -> str:
    """Name the process that holds a file's lock, as far as that can be found out.

    The kernel lists the locks of this host (proc_locks(5)): not those of other hosts, nor of other
    pid namespaces. On btrfs it lists another device than stat(2) tells, so nothing is found.
    """
    found = os.lstat(path)
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError), open("/proc/locks") as locks:
        for line in locks:
            words = line.split()
            if file in words and "->" not in words:  # with an arrow: a process that waits
                pid = words[words.index(file) - 1]
                return f"process {pid}{', which is stopped' if _is_stopped(pid) else ''}"
    return "a process that cannot be seen from here"


def _is_stopped(pid: str) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2][:1] in ("T", "t")
    return False


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

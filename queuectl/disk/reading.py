"""Looking at what anybody may have put there: never waits, never follows a link."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat


def read_regular(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file of at most `limit` bytes (one more is returned to tell).

    A symbolic link is not followed and a FIFO does not block. Raises OSError; for what is no
    regular file, OSError with EINVAL or the kernel's own ELOOP or ENXIO.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, f"is {kind(found.st_mode)}, not a file", path)
        data = os.read(fd, min(found.st_size, limit) + 1)
        if len(data) != found.st_size:  # it has changed, or is larger than the limit
            while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
                data += more
        return data, found
    finally:
        os.close(fd)


def kind(mode: int) -> str:
    """Name what a mode says a thing is, for messages."""
    for test, name in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a device"


def has_writer(path: str) -> bool:
    """Whether some process holds the file open for writing.

    A read lease is granted only on a file that nobody has open for writing (fcntl(2)). Where
    leases cannot be had (another's file, NFS, macOS) the answer is no: then only time tells.
    """
    lease: int | None = getattr(fcntl, "F_SETLEASE", None)
    if lease is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Whoever opens it for writing while we hold the lease has a signal sent to us; the
        # default one, SIGIO, would end this process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, lease, fcntl.F_RDLCK)
        fcntl.fcntl(fd, lease, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)


def exists(path: str) -> bool:
    """Whether there is something at a path. Raises OSError where that cannot be known.

    os.path.lexists answers no to every error: a disk that fails would make jobs disappear.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def same_file(one: str, other: str) -> bool:
    """Whether two names stand for one file; False if either is gone."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False

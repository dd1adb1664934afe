"""Looks at files that any program may have made: never blocks, never follows a symbolic link."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import sys

from msgspec import Struct

from queuectl import clock

CLOCK_TICK = 0.1
"""Seconds: two changes within one tick of the file system's clock may leave the same mtime."""


class NotRegular(OSError):
    """The name is not that of a regular file: the file's fault, whatever the call answered."""


class DirectoryStamp(Struct, frozen=True):
    """A directory's mtime (ns), read before the directory was listed.

    `is_final` is False if a later change could still leave the same mtime.
    """

    mtime: int
    is_final: bool

    def confirms(self, earlier: DirectoryStamp | None) -> bool:
        """Whether a listing made after `earlier` was taken still holds; False for None."""
        return earlier is not None and earlier.is_final and earlier.mtime == self.mtime


def directory_stamp(path: str) -> DirectoryStamp:
    """Return a directory's stamp; take it before listing, and compare it with the next one."""
    now = clock.now()
    mtime = os.stat(path).st_mtime_ns
    return DirectoryStamp(mtime, mtime / 1e9 < now - CLOCK_TICK)


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; return its descriptor and its stat.

    Does not follow a symbolic link, nor block on a FIFO. Raises NotRegular, and OSError for every
    other trouble.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        _check_regular(os.lstat(path), path)  # a link or a socket is refused in many ways
        raise
    try:
        found = os.fstat(fd)
        _check_regular(found, path)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def read_regular(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file; return its bytes, at most `limit` + 1 of them, and its stat.

    More than `limit` bytes tell the caller that the file is too large. Raises NotRegular, and
    OSError for every other trouble.
    """
    fd, found = open_regular(path)
    try:
        data = os.read(fd, min(found.st_size, limit) + 1)
        if len(data) != found.st_size:  # the file has changed, or is larger than the limit
            while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
                data += more
        return data, found
    finally:
        os.close(fd)


def _check_regular(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular(errno.EINVAL, f"is {kind(found.st_mode)}, not a file", path)


def kind(mode: int) -> str:
    """Name the type of file that a mode (st_mode) tells of, for messages."""
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
    """Whether a process has the file open for writing, as far as that can be found out.

    The kernel grants a read lease only on a file that no process has open for writing
    (fcntl(2)). Where there are no leases (another user's file, NFS, macOS) the answer is False:
    the caller can only wait and see whether the file changes.
    """
    if sys.platform != "linux":
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # If a process opens the file for writing while the lease is held, the kernel sends this
        # process a signal; the default one, SIGIO, would end it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)


def exists(path: str) -> bool:
    """Whether a path exists (a dangling link does). Raises OSError if that cannot be found out.

    os.path.lexists answers False at every error: on a failing disk jobs would seem to be gone.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def same_file(one: str, other: str) -> bool:
    """Whether two names are names of one file; False if either is missing."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False

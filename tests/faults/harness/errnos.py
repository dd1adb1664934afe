"""What each system call may answer, so that a sweep breaks every call that an operation makes.

The errors are those that the call's man page names and that occur in life. A call that is in
neither table here fails the sweep: whoever adds a call to an operation says how it may fail.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from faults.harness.strace import Call

_DISK = ("EIO", "ETIMEDOUT", "ESTALE")
"""A dying disk; a server that does not answer (a soft mount); a file that another host removed."""
_NAME = ("EACCES", "ENOMEM", *_DISK)
_ROOM = ("ENOSPC", "EDQUOT", "EROFS")
_DESCRIPTOR = ("EMFILE", "ENFILE")
_PROCESS = ("EAGAIN", "ENOMEM", "EPERM")

FILES: dict[str, tuple[str, ...]] = {
    "openat": (*_DESCRIPTOR, "EINTR", "ENOSPC", *_NAME),
    "read": ("EINTR", *_DISK),
    "write": ("EINTR", "ENOSPC", "EDQUOT", *_DISK),
    "pwrite64": ("EINTR", "ENOSPC", "EDQUOT", *_DISK),
    "pread64": ("EINTR", *_DISK),
    "ftruncate": ("EINTR", "ENOSPC", *_DISK),
    "newfstatat": _NAME,
    "readlink": _NAME,
    "access": _NAME,
    "statfs": ("EINTR", "ENOSYS", *_NAME),
    "getdents64": _DISK,
    "fsync": ("EINTR", "ENOSPC", "EDQUOT", "EIO"),
    "syncfs": ("ENOSPC", "EDQUOT", "EIO"),
    "sync_file_range": ("ENOSPC", "EIO", "ENOSYS"),
    "rename": ("EBUSY", "EPERM", "EXDEV", *_ROOM, *_NAME),
    "renameat2": ("EBUSY", "EPERM", "EINVAL", "ENOSYS", *_ROOM, *_NAME),
    "link": ("EPERM", "EMLINK", *_ROOM, *_NAME),
    "linkat": ("EPERM", "EMLINK", *_ROOM, *_NAME),
    "unlink": ("EBUSY", "EPERM", "EROFS", *_NAME),
    "unlinkat": ("EBUSY", "EPERM", "EROFS", *_NAME),
    "rmdir": ("EBUSY", "EPERM", "EROFS", "ENOTEMPTY", *_NAME),
    "mkdir": ("EPERM", "EMLINK", *_ROOM, *_NAME),
    "chmod": ("EPERM", "EROFS", *_NAME),
    "fchmod": ("EPERM", "EROFS", "EIO"),
    "flock": ("EINTR", "ENOLCK", "ENOSYS"),
}
PROCESSES: dict[str, tuple[str, ...]] = {
    "fcntl": ("EAGAIN", "EACCES", "EMFILE"),
    "dup2": ("EBUSY", "EINTR", "EMFILE"),
    "chdir": _NAME,
    "execve": ("EAGAIN", "E2BIG", "EMFILE", "ETXTBSY", *_NAME),
    "pipe2": _DESCRIPTOR,
    "mmap": ("ENOMEM",),
    "clone": _PROCESS,
    "clone3": (*_PROCESS, "ENOSYS"),
    "vfork": _PROCESS,
    "pidfd_open": (*_DESCRIPTOR, "ENOMEM", "ENOSYS", "EPERM"),
    "poll": ("EINTR", "ENOMEM"),
    "waitid": ("EINTR", "ECHILD", "ENOSYS"),
    "wait4": ("EINTR", "ECHILD"),
    "kill": ("EPERM", "ESRCH"),
    "getpgid": ("ESRCH",),
    "tgkill": ("ESRCH",),
    "inotify_init": (*_DESCRIPTOR, "ENOMEM"),
    "inotify_add_watch": ("ENOSPC", "ENOMEM", "EACCES"),
    "clock_nanosleep": ("EINTR",),
    "select": ("EINTR", "ENOMEM"),
    "pselect6": ("EINTR", "ENOMEM"),
    "setsid": ("EPERM",),
}
ANSWERS = FILES | PROCESSES

NEVER_FAIL = {
    "close": "Linux releases the descriptor whatever it answers; see `false_answers`",
    "futex": "the C library's own; a lock would abort the process",
    "exit": "does not return",
    "exit_group": "does not return",
    **dict.fromkeys(
        ("getpid", "gettid", "geteuid", "getpgrp", "uname", "prlimit64", "madvise"),
        "tells, or gives back: there is nothing to run out of",
    ),
    **dict.fromkeys(
        ("rt_sigprocmask", "rt_sigaction", "rseq", "set_robust_list", "restart_syscall"),
        "changes the process itself, by arguments that are right",
    ),
    **dict.fromkeys(
        ("munmap", "mprotect", "brk", "mremap"), "memory; the process is killed when there is none"
    ),
    "alarm": "the harness's own",
    "getrandom": "its pool is full before any process of a user starts",
    "ioctl": "FIONBIO, and TCGETS of Python's open(), on descriptors that are open",
    "lseek": "of Python's open(), on a file that is open",
    "inotify_rm_watch": "fails only for a watch that is gone",
}
"""The calls that are not broken, each with the reason."""

EVERY_POINT = bool(os.environ.get("QUEUECTL_EVERY_POINT"))


class Point(NamedTuple):
    """A call, and how it is broken."""

    call: Call
    fault: str


def points(calls: Iterable[Call]) -> list[Point]:
    """List each answer of each call."""
    calls = list(calls)
    unknown = {call.name for call in calls} - ANSWERS.keys() - NEVER_FAIL.keys()
    assert not unknown, f"say in harness/errnos.py how these calls may fail: {sorted(unknown)}"
    return [Point(call, error) for call in calls for error in _answers(call)]


def _answers(call: Call) -> tuple[str, ...]:
    if call.name in ("read", "write") and ("<pipe:" in call.text or "<anon_inode:" in call.text):
        return ("EINTR",)  # no disk is behind it
    return ANSWERS.get(call.name, ())


def some(found: Iterable[Point], salt: str) -> list[Point]:
    """Choose some of the points, always the same; all of them with QUEUECTL_EVERY_POINT.

    For each call of `PROCESSES` that is one point for each error. Calls on files are the same in
    most operations: of their errors, one in five is tried in each operation.
    """
    found = list(found)
    if EVERY_POINT:
        return found
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in found:
        groups[f"{point.call.name} {point.fault}"].append(point)
    chosen = []
    for name, each in groups.items():
        lot = zlib.crc32(f"{salt} {name}".encode())
        if each[0].call.name in PROCESSES or lot % 5 == 0:
            chosen.append(each[lot // 5 % len(each)])
    return chosen

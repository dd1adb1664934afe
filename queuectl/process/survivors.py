"""Who is running here: hosts, boots, and all that is left of a command.

A command's processes are found by three marks: they carry its `QUEUECTL_RUN` in their
environment, they hold its run file open (a descriptor that every descendant inherits), or they
are in its process group. A double fork leaves the group and a setsid the session; closing all
descriptors drops the second mark and `env -i` the first, but hardly anything sheds all three.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from msgspec import Struct

from queuectl.clock import monotonic, now

RUN_VARIABLE = "QUEUECTL_RUN"


class Marks(Struct, frozen=True):
    """By what the processes of one run are known.

    `cookie` is the value of QUEUECTL_RUN; `lock` the (device, inode) of the run file, if it is
    there; `group` the process group, None where its number may have passed to strangers.
    """

    cookie: str
    lock: tuple[int, int] | None
    group: int | None


def find(marks: Marks) -> set[int]:
    """Return the ids of all living processes that carry one of the marks, this one apart.

    Other users' processes show neither environment nor descriptors, except to root. Where
    there is no /proc (macOS, BSD) only the group is known, by its leader's id.
    """
    if not os.path.isdir("/proc/self"):
        return {marks.group} if marks.group and _group_lives(marks.group) else set()
    me = os.getpid()
    groups: dict[int, int] = {}
    found: set[int] = set()
    cookie = f"{RUN_VARIABLE}={marks.cookie}".encode()
    for pid in _processes():
        about = _about(pid)
        if about is None:
            continue
        parent, group, _ = about
        groups[pid] = group
        if (
            group == marks.group
            or _has_cookie(pid, cookie)
            or (_holds(pid, marks.lock) and not (parent == me and _is_between_fork_and_exec(pid)))
        ):
            found.add(pid)
    # A group whose number was not vouched for is ours all the same if one of its members is.
    ours = {groups[pid] for pid in found} - {os.getpgrp()}
    return {pid for pid, group in groups.items() if group in ours or pid in found}


def end(
    marks: Marks, grace: float, *, pause: Callable[[float], None], patience: float = 5.0
) -> bool:
    """End all that carries the marks: SIGTERM, after `grace` seconds SIGKILL.

    `pause(seconds)` waits between looks. Whoever was found once is ended, though it was known
    only by a group whose last marked member has died. Returns False if something would not die
    within `patience` seconds of SIGKILL: in uninterruptible sleep, or another user's.
    """
    started = monotonic()
    asked: set[int] = set()
    known: dict[int, int] = {}  # by id, when it was started: an id alone may be given anew
    while living := find(marks) | {pid for pid, start in known.items() if _start(pid) == start}:
        known |= {pid: start for pid in living if (start := _start(pid)) is not None}
        waited = monotonic() - started
        if waited > grace + patience:
            return False
        if waited >= grace:
            _signal(living, signal.SIGKILL)
        else:
            _signal(living - asked, signal.SIGTERM)
            asked |= living
        pause(0.01 if waited < 0.2 else 0.05)
    return True


def identity(path: str) -> tuple[int, int] | None:
    """Return a file's (device, inode); None if it is gone."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _processes() -> Iterator[int]:
    me = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and (pid := int(name)) != me:
            yield pid


def leads(pid: int, written_at: float) -> bool:
    """Whether this process is the leader that a run file, written then, told of.

    It leads a session and was started within a second of that time (wall clock): should the
    clock have been set since, or the id have been given to another, it is not vouched for.
    """
    about = _about(pid)
    if about is None or about[1] != pid:
        return False
    with open("/proc/uptime") as file:
        booted_at = now() - float(file.read().split()[0])
    started_at = booted_at + about[2] / os.sysconf("SC_CLK_TCK")
    return abs(started_at - written_at) <= 1.0


def _start(pid: int) -> int | None:
    about = _about(pid)
    return about[2] if about else None


def _about(pid: int) -> tuple[int, int, int] | None:
    """Return a process's parent, group and start (clock ticks since the boot).

    None if it is gone, or only waits to be reaped.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[2]), int(fields[19]))


def _has_cookie(pid: int, cookie: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return cookie in file.read().split(b"\0")
    except OSError:
        return False


def _holds(pid: int, lock: tuple[int, int] | None) -> bool:
    if lock is None:
        return False
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                held = os.stat(f"/proc/{pid}/fd/{fd}")
                if (held.st_dev, held.st_ino) == lock and _may_write(pid, fd):
                    return True
    return False


def _is_between_fork_and_exec(child: int) -> bool:
    """Whether a child of ours still is our image: until its exec it holds all that we hold."""
    try:
        with open(f"/proc/{child}/cmdline", "rb") as its, open("/proc/self/cmdline", "rb") as ours:
            return its.read() == ours.read()
    except OSError:
        return False


def _may_write(pid: int, fd: str) -> bool:
    """Whether a descriptor was opened for writing, as the inherited one is: readers only look."""
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        flags = next(line for line in file if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.path.isdir("/proc/self"):
                os.kill(pid, number)
            else:
                os.killpg(pid, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True

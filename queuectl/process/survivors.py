"""Finds and ends the processes that are left of a command.

A process belongs to a command if it has one of three marks: it has the command's `QUEUECTL_RUN` in
its environment, it has the command's run file open (every descendant inherits that descriptor), or
it is in the command's process group. A process that calls setsid leaves the group, one that closes
all descriptors drops the second mark, and `env -i` removes the first; hardly any does all three.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct

from queuectl import trouble
from queuectl.clock import monotonic, now

RUN_VARIABLE = "QUEUECTL_RUN"


class Marks(Struct, frozen=True):
    """The marks of one command's processes.

    `cookie` is the value of QUEUECTL_RUN; `lock` the (device, inode) of the run file, None if
    that is missing; `group` the process group, None if strangers may have its number by now.
    """

    cookie: str
    lock: tuple[int, int] | None
    group: int | None

    @property
    def variable(self) -> bytes:
        """The cookie as it is in an environment: `QUEUECTL_RUN=...`."""
        return f"{RUN_VARIABLE}={self.cookie}".encode()


class _Process(NamedTuple):
    """A running process; `started` is in clock ticks since the boot."""

    parent: int
    group: int
    started: int


def find(marks: Marks) -> set[int]:
    """Return the ids of all running processes with one of the marks, except this process.

    Only root can read the environment and the descriptors of other users' processes. Where
    there is no /proc (macOS, BSD), the result is the id of the group, if the group exists.
    Raises OSError if this process has no room to look: no descriptor, no memory.
    """
    if not _has_proc():
        return {marks.group} if marks.group and _group_exists(marks.group) else set()
    groups: dict[int, int] = {}
    marked: set[int] = set()
    for pid in _other_processes():
        if (process := _about(pid)) is None:
            continue
        groups[pid] = process.group
        if _is_marked(pid, process, marks):
            marked.add(pid)
    # A group with a marked member is the command's, even where `marks.group` is None.
    ours = {groups[pid] for pid in marked} - {os.getpgrp()}
    return marked | {pid for pid, group in groups.items() if group in ours}


def end(
    marks: Marks, grace: float, *, pause: Callable[[float], None], patience: float = 5.0
) -> bool:
    """End all processes with one of the marks: SIGTERM, and after `grace` seconds SIGKILL.

    `pause(seconds)` is called between looks. A process that was found once is ended even if it
    was found only by its group, and the last marked process of that group has ended since.
    Returns False if a process may still run `patience` seconds after SIGKILL: it is in
    uninterruptible sleep, or another user's, or this process has no room to look for it.
    """
    started = monotonic()
    asked: set[int] = set()
    known: dict[int, int] = {}  # start time by id: another process may get the same id later
    while True:
        running: set[int] = set()
        with contextlib.suppress(OSError):  # then what runs is not known: look again
            running = find(marks) | {pid for pid, start in known.items() if _start(pid) == start}
            known |= {pid: start for pid in running if (start := _start(pid)) is not None}
            if not running:
                return True
        waited = monotonic() - started
        if waited > grace + patience:
            return False
        if waited >= grace:
            _signal(running, signal.SIGKILL)
        else:
            _signal(running - asked, signal.SIGTERM)
            asked |= running
        pause(0.01 if waited < 0.2 else 0.05)


def identity(path: str) -> tuple[int, int] | None:
    """Return a file's (device, inode); None if it is missing."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _has_proc() -> bool:
    return os.path.isdir("/proc/self")


def _other_processes() -> Iterator[int]:
    me = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and (pid := int(name)) != me:
            yield pid


def leads(pid: int, written_at: float) -> bool:
    """Whether a process is the one whose id is in a run file that was written at that time.

    It must lead its process group, and its start must be within a second of `written_at` (wall
    clock, seconds). The answer is False if another process has the id now, or if the clock was
    set since.
    """
    process = _about(pid)
    if process is None or process.group != pid:
        return False
    with open("/proc/uptime") as file:
        booted_at = now() - float(file.read().split()[0])
    started_at = booted_at + process.started / os.sysconf("SC_CLK_TCK")
    return abs(started_at - written_at) <= 1.0


@contextlib.contextmanager
def _if_readable() -> Iterator[None]:
    """Suppress the errors that mean that a process has ended, or is not ours to look at."""
    try:
        yield
    except OSError as error:
        if trouble.owner(error) == "process":  # it tells nothing of the one that was looked at
            raise


def _start(pid: int) -> int | None:
    process = _about(pid)
    return process.started if process else None


def _about(pid: int) -> _Process | None:
    """Return what /proc tells of a process; None if it has ended, though it may not be reaped."""
    fields: list[bytes] = []
    with _if_readable(), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return _Process(parent=int(fields[1]), group=int(fields[2]), started=int(fields[19]))


def _is_marked(pid: int, process: _Process, marks: Marks) -> bool:
    if process.group == marks.group or _has_variable(pid, marks.variable):
        return True
    if not _has_open(pid, marks.lock):
        return False
    return not (process.parent == os.getpid() and _is_between_fork_and_exec(pid))


def _has_variable(pid: int, variable: bytes) -> bool:
    with _if_readable(), open(f"/proc/{pid}/environ", "rb") as file:
        return variable in file.read().split(b"\0")
    return False


def _has_open(pid: int, lock: tuple[int, int] | None) -> bool:
    if lock is None:
        return False
    with _if_readable():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with _if_readable():
                held = os.stat(f"/proc/{pid}/fd/{fd}")
                if (held.st_dev, held.st_ino) == lock and _may_write(pid, fd):
                    return True
    return False


def _is_between_fork_and_exec(child: int) -> bool:
    """Whether a child of this process has not called exec yet: until then it has all our files."""
    with (
        _if_readable(),
        open(f"/proc/{child}/cmdline", "rb") as its,
        open("/proc/self/cmdline", "rb") as ours,
    ):
        return its.read() == ours.read()
    return False


def _may_write(pid: int, fd: str) -> bool:
    """Whether a descriptor is open for writing, as the inherited one is; a reader's is not."""
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        flags = next(line for line in file if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if _has_proc():
                os.kill(pid, number)
            else:
                os.killpg(pid, number)  # all that `find` returns here is the group


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True

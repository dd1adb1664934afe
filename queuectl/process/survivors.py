"""Finds and ends the processes that are left of a command.

A process belongs to a command if it has one of three marks: it has the command's `QUEUECTL_RUN` in
its environment, it has the command's run file open (every descendant inherits that descriptor), or
it is in a process group that has such a member, or that the command leads as our child. A process
that calls setsid leaves the group, one that closes all descriptors drops the second mark, and
`env -i` removes the first; hardly any does all three.

No look at a process may wait for a file system: another process may have files of one that does not
answer any more. So descriptors are read as links (readlink), never followed (stat).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct

from queuectl import trouble
from queuectl.clock import monotonic
from queuectl.disk.locks import is_locked

RUN_VARIABLE = "QUEUECTL_RUN"
PATIENCE = 5.0
"""Seconds after SIGKILL after which a process that runs on is one that cannot be ended: it is in
uninterruptible sleep, or another user's, or it cannot be seen from here."""

_AT_ONCE, _SOON, _LATER = 0.01, 0.05, 0.5
"""Seconds between two looks: in the first moments, until PATIENCE is over, and then."""
_READ_BYTES = 1 << 17


class Marks(Struct, frozen=True):
    """The marks of one command's processes.

    `cookie` is the value of QUEUECTL_RUN. `group` is the process group that the command leads, None
    unless the command is a child of this process that is not reaped: else strangers may have its
    number. `file` is the path of the file that all of them inherit; with `has_lock` they inherit
    its lock, so that none of them has it open if the lock is free.
    """

    cookie: str
    group: int | None
    file: str | None
    has_lock: bool = True

    @property
    def variable(self) -> bytes:
        """The cookie as it is in an environment: `QUEUECTL_RUN=...`."""
        return f"{RUN_VARIABLE}={self.cookie}".encode()


class _Process(NamedTuple):
    """A running process; `started` is in clock ticks since the boot."""

    parent: int
    started: int


def end(marks: Marks, grace: float, *, gives_up: Callable[[float], bool]) -> bool:
    """End a run: SIGTERM to all processes with one of the marks, SIGKILL after `grace` seconds.

    Returns True once nothing of the run lives: no process with a mark can be found, and the lock is
    free, which processes hold too that cannot be seen from here. Returns False if the caller gives
    up before: `gives_up(overdue)` is asked between looks, with the seconds since the first SIGKILL,
    negative before. A process that was found once is ended even if it was found only by its group,
    and the last marked process of that group has ended since.
    """
    if not _has_proc():
        return _end_unseen(marks, grace, gives_up)
    started: float | None = None  # after the first look, which may take long
    asked: set[int] = set()
    known: dict[int, int] = {}  # start time by id: another process may get the same id later
    while True:
        running: set[int] = set()
        with contextlib.suppress(OSError):  # then what runs is not known: look again
            is_held = _is_held(marks)
            found = find(marks, with_file=is_held or not marks.has_lock)
            running = found | {pid for pid, start in known.items() if _start(pid) == start}
            known |= {pid: start for pid in running if (start := _start(pid)) is not None}
            if not running and not is_held:
                return True
            if not running:  # nobody is left who could use the time
                grace = min(grace, 0.0 if started is None else monotonic() - started)
        started = monotonic() if started is None else started
        waited = monotonic() - started
        if gives_up(waited - grace):
            return False
        if waited >= grace:
            _signal(running, signal.SIGKILL)
        else:
            _signal(running - asked, signal.SIGTERM)
            asked |= running
        _pause(waited, grace)


def _end_unseen(marks: Marks, grace: float, gives_up: Callable[[float], bool]) -> bool:
    """Do what `end` does where there is no /proc to look at (macOS, BSD): signal the group.

    A group of which only a zombie is left looks like one that runs. So nobody is waited for who
    does not hold the lock, and after SIGKILL the lock alone tells.
    """
    started, sent = monotonic(), None
    while True:
        waited, is_held = monotonic() - started, True
        with contextlib.suppress(OSError):  # no room to look: look again
            is_held = _is_held(marks)
        may_run = is_held or not marks.has_lock
        number = signal.SIGTERM if may_run and waited < grace else signal.SIGKILL
        if number != sent and marks.group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(marks.group, number)
        sent = number
        if sent == signal.SIGKILL and not is_held:
            return True
        if gives_up(waited - grace):
            return False
        _pause(waited, grace)


def end_start(thread: int) -> bool:
    """End the process with which a thread starts a command, if it is not the command yet.

    `thread` is a thread's native id. Returns whether there was one. Only Linux tells.
    """
    found = False
    with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as file:
        for pid in map(int, file.read().split()):
            if _is_between_fork_and_exec(pid):
                _signal({pid}, signal.SIGKILL)
                found = True
    return found


def _is_held(marks: Marks) -> bool:
    return marks.has_lock and marks.file is not None and is_locked(marks.file)


def _pause(waited: float, grace: float) -> None:
    time.sleep(_AT_ONCE if waited < 0.2 else _SOON if waited < grace + PATIENCE else _LATER)


def find(marks: Marks, *, with_file: bool = True) -> set[int]:
    """Return the ids of all running processes with one of the marks, except this process.

    The file's mark is looked for only if asked. Only root can read the environment and the
    descriptors of other users' processes. Raises OSError if this process has no room to look: no
    descriptor, no memory.
    """
    groups: dict[int, int] = {}
    marked: set[int] = set()
    link = _link(marks.file) if with_file and marks.file else None
    for pid in _other_processes():
        try:
            groups[pid] = group = os.getpgid(pid)
        except OSError:  # it has ended
            continue
        if (
            (group and group == marks.group)
            or _has_variable(pid, marks.variable)
            or (link and _has_open(pid, link))
        ):
            marked.add(pid)
    # A group with a marked member is the command's. Number 0: a group of another pid namespace.
    ours = {groups[pid] for pid in marked} - {os.getpgrp(), 0}
    found = marked | {pid for pid, group in groups.items() if group in ours}
    return {pid for pid in found if _about(pid) is not None}


def _has_proc() -> bool:
    """Whether /proc tells of the processes that this process can signal: it may be another's."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self") == str(os.getpid())
    return False


def _other_processes() -> Iterator[int]:
    me = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and (pid := int(name)) != me:
            yield pid


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
    return _Process(parent=int(fields[1]), started=int(fields[19]))


def _has_variable(pid: int, variable: bytes) -> bool:
    with _if_readable():
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = b"\0"
            while more := os.read(fd, _READ_BYTES):
                data += more
            return b"\0" + variable + b"\0" in data
        finally:
            os.close(fd)
    return False


def _link(path: str) -> str:
    """Return the end of what a descriptor of the file is a link to, in every mount namespace."""
    return "/" + "/".join(path.split("/")[-2:])


def _has_open(pid: int, link: str) -> bool:
    """Whether a process has a file open for writing, other than as our copy before its exec."""
    with _if_readable():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with _if_readable():
                file = os.readlink(f"/proc/{pid}/fd/{fd}").removesuffix(" (deleted)")
                if file.endswith(link) and _may_write(pid, fd):
                    return not _is_between_fork_and_exec(pid)
    return False


def _is_between_fork_and_exec(pid: int) -> bool:
    """Whether it is a child of this process that has not called exec yet: it has all our files."""
    process = _about(pid)
    if process is None or process.parent != os.getpid():
        return False
    with (
        _if_readable(),
        open(f"/proc/{pid}/cmdline", "rb") as its,
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
            os.kill(pid, number)

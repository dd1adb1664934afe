"""Waits for the end of a command, or for a reason to end it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import Literal

from queuectl import clock, slot_lock
from queuectl.process import survivors, wakeup
from queuectl.process.spawn import Child
from queuectl.record.job import Outcome

_LOOK_SECONDS = 0.02  # between two looks at a command where there is no pidfd
_OUTPUT_SECONDS = 0.2  # between two looks at the size of a command's output
_LONGEST_POLL = 3600.0  # seconds; poll(2) takes an int of milliseconds, at most 24.8 days

StopReason = Literal["cancelled", "interrupted", "timeout"]


class StopSwitch:
    """Lets other threads ask for the end of the command that a slot runs or starts.

    A slot has one switch for all its commands, and resets it between them.
    """

    def __init__(self) -> None:
        self._reader, self._writer = wakeup.make_pipe()
        self._lock = threading.Lock()
        self._starter: int | None = None  # the thread that starts a command now
        self._latest = math.inf  # when its start is late, by the monotonic clock
        self.reason: StopReason | None = None
        self.has_ended_start = False
        """Whether the command was ended before it could begin."""

    @contextlib.contextmanager
    def starting(self, timeout: float | None) -> Iterator[None]:
        """Start a command meanwhile, in this thread; `timeout` is in seconds.

        The start hangs if the command's directory or program is on a file system that does not
        answer. As it is a process of its own that hangs, it can be ended as a rule.
        """
        with self._lock:
            self._latest = math.inf if timeout is None else clock.monotonic() + timeout
            self._starter = threading.get_native_id()
        try:
            yield
        finally:
            with self._lock:
                self._starter = None

    def stop(self, reason: StopReason) -> None:
        """Ask for the command's end. If that was asked already, the first reason stays."""
        with self._lock:
            self._stop(reason)

    def check_start(self) -> None:
        """Ask for the end of a start that takes longer than its command may run."""
        with self._lock:
            if self._starter is not None and clock.monotonic() > self._latest:
                self._stop("timeout")
            elif self._starter is not None and self.reason is not None:  # it was just too early
                self._stop(self.reason)

    def _stop(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            os.write(self._writer, b"!")
        if self._starter is not None and survivors.end_start(self._starter):
            self.has_ended_start = True

    def reset(self) -> None:
        """Get ready for the next command: forget what was asked for the last one."""
        with self._lock:
            if self.reason is not None:
                self.reason = None
                self.has_ended_start = False
                os.read(self._reader, 1)

    def close(self) -> None:
        """Close the descriptors."""
        with self._lock:
            self.reason = self.reason or "interrupted"  # so that `stop` writes nothing from now on
            os.close(self._reader)
            os.close(self._writer)

    def fileno(self) -> int:
        """Return the descriptor that is readable once the command's end was asked for."""
        return self._reader


class OutputLimit:
    """How much a command may write to its output, a descriptor of a file, from now on.

    The command writes to the file itself, so its size has to be looked at.
    """

    def __init__(self, output: int, most: int | None) -> None:
        self._output = output
        self._largest = math.inf if most is None else os.fstat(output).st_size + most
        self.look_seconds = _LONGEST_POLL if most is None else _OUTPUT_SECONDS
        """Seconds between two looks."""

    def is_exceeded(self) -> bool:
        """Whether the output is larger."""
        with contextlib.suppress(OSError):
            return self._largest != math.inf and os.fstat(self._output).st_size > self._largest
        return False  # it cannot be known now


def wait(
    command: Child, timeout: float | None, switch: StopSwitch, limit: OutputLimit | None = None
) -> Outcome | Literal["output"] | None:
    """Wait until the command ends (None) or there is a reason to end it; do not reap it.

    `timeout` is in seconds. The reason is "timeout", "output" if the command has written more than
    its `limit`, or the one that the switch was given. A command that ends before the next look at
    its output has ended by itself.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    ended = _open_pidfd(command.pid)
    poll = select.poll()
    poll.register(switch, select.POLLIN)
    if ended is not None:
        poll.register(ended, select.POLLIN)
    try:
        while True:
            longest = _LOOK_SECONDS if ended is None else _LONGEST_POLL
            longest = min(longest, limit.look_seconds) if limit else longest
            left = longest if deadline is None else min(deadline - clock.monotonic(), longest)
            if left <= 0:
                return "timeout"
            with slot_lock.released():
                ready = _poll(poll, left)
            if ended in ready or ((ended is None or not ready) and command.has_ended()):
                return switch.reason if switch.has_ended_start else None
            if switch.reason is not None:
                return switch.reason
            if limit and limit.is_exceeded():
                return "output"
    finally:
        if ended is not None:
            with contextlib.suppress(OSError):
                os.close(ended)


def _open_pidfd(pid: int) -> int | None:
    """Return a descriptor that is readable once a process has ended; None if there is none.

    There is none on other systems than Linux, in some sandboxes, and when the worker has too many
    descriptors. The command runs already, so that is not an error: it is looked at instead.
    """
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _poll(poll: select.poll, seconds: float) -> set[int]:
    """Wait until a descriptor is readable; return those that are."""
    try:
        return {fd for fd, _ in poll.poll(seconds * 1000 + 1)}
    except OSError:  # the kernel has no memory for it: look again in a moment
        time.sleep(min(seconds, _LOOK_SECONDS))
        return set()

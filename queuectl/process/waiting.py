"""Waiting for the end of a command, or for a reason to end it."""

from __future__ import annotations

import os
import select
import threading
from typing import Literal

from queuectl import clock, slot_lock
from queuectl.process.spawn import Child
from queuectl.record.job import Outcome

_NO_PATIENCE_SECONDS = 0.02


_LONGEST_POLL = 3600.0  # seconds; poll(2) takes an int of milliseconds, 24.8 days


StopReason = Literal["cancelled", "interrupted"]


class StopSwitch:
    """The ear of a slot's commands, one after the other: how other threads ask for their end."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self.reason: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """Ask for the command's end; the first reason given stays."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
                os.write(self._writer, b"!")

    def reset(self) -> None:
        """Be ready for the next command: what was asked of the last one is done with."""
        with self._lock:
            if self.reason is not None:
                self.reason = None
                os.read(self._reader, 1)

    def close(self) -> None:
        """Free the descriptors."""
        with self._lock:
            self.reason = self.reason or "interrupted"  # nothing is written from here on
            os.close(self._reader)
            os.close(self._writer)

    def fileno(self) -> int:
        """The descriptor that is readable once an end was asked for."""
        return self._reader


def wait(command: Child, timeout: float | None, control: StopSwitch) -> Outcome | None:
    """Wait for the command's own end without reaping it, or for a reason to end it."""
    deadline = None if timeout is None else clock.monotonic() + timeout
    ended = os.pidfd_open(command.pid) if hasattr(os, "pidfd_open") else None
    poll = select.poll()
    poll.register(control, select.POLLIN)
    if ended is not None:
        poll.register(ended, select.POLLIN)
    try:
        while True:
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return "timeout"
            if ended is None:
                left = min(left or _NO_PATIENCE_SECONDS, _NO_PATIENCE_SECONDS)
            patience = _LONGEST_POLL if left is None else min(left, _LONGEST_POLL)
            with slot_lock.released():
                ready = {fd for fd, _ in poll.poll(patience * 1000 + 1)}
            if ended in ready or (ended is None and command.has_ended()):
                return None
            if control.fileno() in ready:
                return control.reason
    finally:
        if ended is not None:
            os.close(ended)

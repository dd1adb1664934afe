"""Looking at the waiting files that no event has told of: events may be late, lost or false."""

from __future__ import annotations

import threading

from queuectl import clock
from queuectl.disk.reading import DirectoryStamp, directory_stamp
from queuectl.record.job import State
from queuectl.spool.spool import Spool
from queuectl.worker.intake import Intake

LONGEST_INTERVAL = 60.0
"""Seconds between scans under a watch, where a directory takes long to list."""
SHARE = 20
"""A directory that takes long to list is listed for a twentieth of the time."""


class Scanner:
    """The scans of `pending/` and `failed/` for one worker, until `closing` is set.

    `overflowed` is set when events were lost.
    """

    def __init__(
        self, intake: Intake, overflowed: threading.Event, closing: threading.Event
    ) -> None:
        self.done_once = threading.Event()
        self._intake = intake
        self._spool: Spool = intake.spool
        self._overflowed = overflowed
        self._closing = closing
        self._stamps: dict[State, DirectoryStamp] = {}
        self._next_scan: dict[State, float] = {}
        self._next_full_scan = 0.0

    def is_full_scan_due(self, watched: bool) -> bool:
        """Whether a change to a known file may have been missed, because events were lost."""
        if watched and not self._overflowed.is_set():
            return False
        if clock.monotonic() < self._next_full_scan:
            return False
        self._overflowed.clear()
        return True

    def full_scan_done(self, started: float) -> None:
        """Note that a full scan, begun then, is over."""
        self._next_full_scan = _in_proportion(started)

    def scan(self, state: State, *, full: bool, watched: bool) -> None:
        """Look at all waiting files that are not known; none if nothing has changed.

        With `full` at all of them, also those that are known. Raises OSError, QueuectlError.
        """
        started = clock.monotonic()
        if watched and not full and started < self._next_scan.get(state, 0.0):
            return
        stamp = directory_stamp(self._spool.layout.states[state])  # before the directory is listed
        if stamp.confirms(self._stamps.get(state)) and not full:
            return
        if state == "pending":  # not failed/: a drain would wait for a retry that is over
            for _ in self._intake.read_ahead():
                full = False  # what has just been read need not be read again
                if self._closing.is_set():
                    return
        if self._look_at_each(state, full):
            self._stamps[state] = stamp
        self._next_scan[state] = min(_in_proportion(started), clock.monotonic() + LONGEST_INTERVAL)

    def _look_at_each(self, state: State, full: bool) -> bool:
        """Look at a state's files; return whether all of them are known afterwards."""
        all_known = True
        for name in self._spool.reader.names(state):
            if self._closing.is_set():
                return False
            if full or not self._intake.knows(state, name):
                self._intake.look(state, name)
                all_known = all_known and self._intake.knows(state, name)
        return all_known


def _in_proportion(started: float) -> float:
    """Return when to repeat what started then and is over now, for it to get its share of time."""
    return clock.monotonic() + SHARE * (clock.monotonic() - started)

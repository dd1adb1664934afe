"""Scans `pending/` and `failed/` for files without an event: events can be late, lost or false."""

from __future__ import annotations

import threading

from queuectl import clock
from queuectl.disk.reading import DirectoryStamp, directory_stamp
from queuectl.record.job import State
from queuectl.spool.spool import Spool
from queuectl.worker.intake import Intake

LONGEST_INTERVAL = 60.0
"""The longest rest in seconds between two scans of a directory that a watch covers."""
REST_RATIO = 20
"""A scan that took one second is followed by a rest of this many seconds."""


class Scanner:
    """The scans of one worker, until `closing` is set.

    `overflowed` is set when the watch has lost events.
    """

    def __init__(
        self, intake: Intake, overflowed: threading.Event, closing: threading.Event
    ) -> None:
        self._intake = intake
        self._spool: Spool = intake.spool
        self._overflowed = overflowed
        self._closing = closing
        self._stamps: dict[State, DirectoryStamp] = {}
        self._next_scan: dict[State, float] = {}
        self._next_full_scan = 0.0

    def is_full_scan_due(self, watched: bool) -> bool:
        """Whether a change to a known file may be unnoticed: no watch, or lost events."""
        if watched and not self._overflowed.is_set():
            return False
        if clock.monotonic() < self._next_full_scan:
            return False
        self._overflowed.clear()
        return True

    def full_scan_done(self, started: float) -> None:
        """Note that the full scan that began at `started` is over."""
        self._next_full_scan = _after_a_rest(started)

    def scan(self, state: State, *, full: bool, watched: bool) -> None:
        """Look at all waiting files that are not known, if the directory has changed.

        With `full`, look at all files, known or not. Raises OSError, QueuectlError.
        """
        started = clock.monotonic()
        if watched and not full and started < self._next_scan.get(state, 0.0):
            return
        stamp = directory_stamp(self._spool.layout.states[state])
        if stamp.confirms(self._stamps.get(state)) and not full:
            return
        # A prescan of failed/ could report a retry that is over, and a drain would wait for it.
        if state == "pending":
            for _ in self._intake.read_ahead():
                full = False  # the prescan has just read all files
                if self._closing.is_set():
                    return
        if self._look_at_each(state, full):
            self._stamps[state] = stamp
        self._next_scan[state] = min(_after_a_rest(started), clock.monotonic() + LONGEST_INTERVAL)

    def _look_at_each(self, state: State, full: bool) -> bool:
        """Look at the files of a state; return whether all of them are known now."""
        all_known = True
        for name in self._spool.reader.names(state):
            if self._closing.is_set():
                return False
            if full or not self._intake.knows(state, name):
                self._intake.look(state, name)
                all_known = all_known and self._intake.knows(state, name)
        return all_known


def _after_a_rest(started: float) -> float:
    """Return when to repeat a scan that began at `started` and ends now, after its rest."""
    return clock.monotonic() + REST_RATIO * (clock.monotonic() - started)

"""When the trouble is ours, not a job's: the disk is full or fails, no process is to be had.

Slots that are in trouble try again after growing pauses, and meanwhile no slot takes a new job.
"""

from __future__ import annotations

import logging
import threading

from queuectl import slot_lock

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Seconds between tries: doubled from the first to the longest."""


class Pauses:
    """The trouble of a worker's slots, each known by its number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._troubled: set[int] = set()
        self._pauses: dict[int, float] = {}
        self._none = threading.Event()
        self._none.set()
        self.given_up = threading.Event()
        """Set when there is no more time to try again: the worker is to leave now."""

    def pause(self, slot: int, why: str) -> None:
        """Wait before the next try, longer each time; until then no slot takes a new job."""
        with self._lock:
            seconds = self._pauses.get(slot, FIRST_PAUSE)
            self._pauses[slot] = min(seconds * 2, LONGEST_PAUSE)
            self._troubled.add(slot)
            self._none.clear()
        log.error("%s; trying again in %g s", why, seconds)
        with slot_lock.released():
            self.given_up.wait(seconds)
        with self._lock:
            self._troubled.discard(slot)
            if not self._troubled:
                self._none.set()

    def is_over(self, slot: int) -> None:
        """A try has succeeded: the next pause is a short one again."""
        with self._lock:
            self._pauses.pop(slot, None)

    @property
    def is_there(self) -> bool:
        """Whether a slot is in trouble."""
        return not self._none.is_set()

    def wait_for_none(self) -> None:
        """Wait until no slot is in trouble."""
        self._none.wait()

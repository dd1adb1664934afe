"""Pauses after errors that are not a job's fault: a full or failing disk, no process to be had.

A slot that has such an error tries again after growing pauses. While a slot pauses, no slot takes a
new job.
"""

from __future__ import annotations

import logging
import threading

from queuectl import slot_lock

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Seconds between tries: the pause doubles from the first to the longest."""


class Pauses:
    """The pauses of a worker's slots, each known by its number, or of threads by their ids."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pausing: set[int] = set()
        self._next: dict[int, float] = {}  # seconds
        self._nobody = threading.Event()
        self._nobody.set()
        self.given_up = threading.Event()
        """Set when the worker stops now: it has no time to try again. Ends all pauses."""

    def pause(self, slot: int, why: str, *, until_reset: bool = False) -> None:
        """Pause before the next try, longer each time; until then no slot takes a new job.

        With `until_reset`, none does before the slot is `reset`: also not during its next try.
        """
        with self._lock:
            seconds = self._next.get(slot, FIRST_PAUSE)
            self._next[slot] = min(seconds * 2, LONGEST_PAUSE)
            self._pausing.add(slot)
            self._nobody.clear()
        log.error("%s; trying again in %g s", why, seconds)
        with slot_lock.released():
            self.given_up.wait(seconds)
        if not until_reset:
            self._end(slot)

    def reset(self, slot: int) -> None:
        """Make a slot's next pause a short one again: its work is over."""
        if slot in self._next:
            with self._lock:
                self._next.pop(slot, None)
            self._end(slot)

    def _end(self, slot: int) -> None:
        with self._lock:
            self._pausing.discard(slot)
            if not self._pausing:
                self._nobody.set()

    @property
    def any_now(self) -> bool:
        """Whether a slot pauses."""
        return not self._nobody.is_set()

    def wait_for_none(self) -> None:
        """Wait until no slot pauses."""
        self._nobody.wait()

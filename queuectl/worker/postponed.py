"""Work that one file holds up: it is tried again after growing pauses, and other work goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from queuectl import clock

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Seconds between tries: the pause doubles from the first to the longest."""

K = TypeVar("K", bound=Hashable)


class Postponed(Generic[K]):
    """What waits for its next try, each known by a key; shared by all threads of a worker.

    `changed()` is called when something new waits: the thread that asks for what is `due` may
    sleep for longer.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._waiting: dict[K, float] = {}  # when it is due, on the monotonic clock
        self._pauses: dict[K, float] = {}  # how long it waits next time, in seconds
        self._barriers: dict[K, Callable[[], bool]] = {}

    def put_off(self, key: K, why: str, barrier: Callable[[], bool] | None = None) -> None:
        """Let something wait, longer each time until it is `over`; log it the first time.

        While `barrier()` is true it waits on, without a try.
        """
        with self._lock:
            is_new = key not in self._pauses
            self._wait(key)
            if barrier is not None:
                self._barriers[key] = barrier
        if is_new:
            log.warning("%s; it waits, and is tried again after growing pauses", why)
        self._changed()

    def over(self, key: K) -> None:
        """Forget something: it was done, or is gone."""
        if key in self._pauses:
            with self._lock:
                for kept in (self._waiting, self._pauses, self._barriers):
                    kept.pop(key, None)

    def due(self) -> list[K]:
        """Return what is to be tried now; from now on it does not wait."""
        now, found = clock.monotonic(), []
        for key in [key for key, due in [*self._waiting.items()] if due <= now]:
            barrier = self._barriers.get(key)
            is_blocked = barrier is not None and barrier()
            with self._lock:
                if is_blocked:
                    self._wait(key)
                elif self._waiting.pop(key, None) is not None:
                    self._barriers.pop(key, None)
                    found.append(key)
        return found

    def seconds_to_next(self) -> float | None:
        """Return the seconds until something is due; None if nothing waits."""
        with self._lock:
            if not self._waiting:
                return None
            return max(min(self._waiting.values()) - clock.monotonic(), 0.0)

    def __contains__(self, key: K) -> bool:
        """Whether something waits, and must not be tried now."""
        return key in self._waiting

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def _wait(self, key: K) -> None:
        seconds = self._pauses.get(key, FIRST_PAUSE)
        self._waiting[key] = clock.monotonic() + seconds
        self._pauses[key] = min(seconds * 2, LONGEST_PAUSE)

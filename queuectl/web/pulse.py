"""The health of the queue, for those who may only know whether it is well."""

from __future__ import annotations

import threading

from queuectl import clock
from queuectl.view import health

SECONDS_BETWEEN_LOOKS = 5.0
"""How long a look serves those without the token: they are not to keep the disk busy."""


class Pulse:
    """The last look at the queue's health, for all who may only know whether it is well."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._seen: health.Snapshot | None = None
        self._next = 0.0

    def seen(self) -> health.Snapshot:
        """Return what was seen, at most some seconds ago."""
        with self._lock:
            if self._seen is None or clock.monotonic() >= self._next:
                self._seen = health.observe_all(self._root)
                self._next = clock.monotonic() + SECONDS_BETWEEN_LOOKS
            return self._seen

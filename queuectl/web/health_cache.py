"""The health of the queue for clients without the token, observed only every few seconds."""

from __future__ import annotations

import threading

from queuectl import clock
from queuectl.view import health

SECONDS_REUSED = 5.0
"""How long an observation is reused: clients without the token must not keep the disk
busy."""


class HealthCache:
    """The newest observation of the health of the queue in a directory."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._seen: health.Snapshot | None = None
        self._next = 0.0

    def observe(self) -> health.Snapshot:
        """Return what was seen, at most SECONDS_REUSED ago."""
        with self._lock:
            if self._seen is None or clock.monotonic() >= self._next:
                self._seen = health.observe_all(self._root)
                self._next = clock.monotonic() + SECONDS_REUSED
            return self._seen

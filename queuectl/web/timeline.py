"""Outcomes over time: how many attempts completed or failed and how many jobs died.

Each record that arrives in done/, failed/ or dead/ is read once; its history says when each attempt
ended. So the chart also shows what happened before the page was opened, and an event that the watch
has lost makes no difference.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.errors import InvalidInput
from queuectl.view.pages import Entry

SPANS: dict[str, tuple[int, int]] = {"5m": (300, 5), "1h": (3600, 60), "24h": (86400, 1800)}
"""The spans of the chart: the length of each, and of its buckets, in seconds."""
LONGEST = 86400
_GRAIN_SECONDS = 5
_MAX_COUNTED = 400_000
_FAILURES = ("failed", "timeout", "lost")


class Bucket(Struct, frozen=True):
    """What ended in one bucket, which begins at `start` (seconds since the epoch)."""

    start: float
    completed: int
    failed: int
    dead: int


class _Ended(Struct, frozen=True):
    outcome: str
    finished_at: str | None = None


class _Past(Struct, frozen=True):
    history: list[_Ended] = []


_decode = msgspec.json.Decoder(_Past).decode


class Timeline:
    """Completed attempts, failed attempts and dead jobs, counted by time.

    `read` returns the bytes of a listed file, or raises OSError.
    """

    def __init__(self, read: Callable[[Entry], bytes]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._grains: dict[int, list[int]] = {}
        self._counted: dict[str, int] = {}
        self._unread: list[Entry] = []

    def note(self, arrivals: Iterable[Entry], most: int) -> bool:
        """Count what is new in the records of jobs that have arrived in a state.

        At most `most` records are read, the newest first; returns whether some are left for the
        next call.
        """
        horizon = clock.now() - LONGEST
        ended = [e for e in arrivals if e.state != "pending" and e.changed / 1e9 > horizon]
        with self._lock:
            self._unread += sorted(ended, key=lambda entry: entry.changed)
            now, self._unread = self._unread[-most:], self._unread[:-most]
        for entry in now:
            attempts = self._attempts(entry)
            with self._lock:
                self._count(entry, attempts, horizon)
        with self._lock:
            self._forget(horizon)
            return bool(self._unread)

    def series(self, span: str) -> list[Bucket]:
        """Return the buckets of a span of SPANS, oldest first; the last one has not ended yet."""
        seconds, width = SPANS[span]
        last = int(clock.now() // width) * width
        first = last - seconds + width
        sums = {start: [0, 0, 0] for start in range(first, last + width, width)}
        with self._lock:
            for start, counts in self._grains.items():
                if (bucket := sums.get(start // width * width)) is not None:
                    for kind, count in enumerate(counts):
                        bucket[kind] += count
        return [Bucket(start, *counts) for start, counts in sums.items()]

    def _attempts(self, entry: Entry) -> list[_Ended]:
        try:
            return _decode(self._read(entry)).history
        except (OSError, msgspec.DecodeError, RecursionError):
            return []

    def _count(self, entry: Entry, attempts: list[_Ended], horizon: float) -> None:
        known = self._counted.pop(entry.name, 0)
        for ended in attempts[known:]:
            kind = 0 if ended.outcome == "ok" else 1 if ended.outcome in _FAILURES else None
            if kind is not None and ended.finished_at is not None:
                try:
                    self._add(clock.parse_timestamp(ended.finished_at), kind, horizon)
                except InvalidInput:
                    continue
        self._counted[entry.name] = max(known, len(attempts))
        if entry.state == "dead":
            self._add(entry.changed / 1e9, 2, horizon)

    def _add(self, moment: float, kind: int, horizon: float) -> None:
        if moment > horizon:
            self._grains.setdefault(int(moment // _GRAIN_SECONDS) * _GRAIN_SECONDS, [0, 0, 0])[
                kind
            ] += 1

    def _forget(self, horizon: float) -> None:
        for start in [start for start in self._grains if start < horizon]:
            del self._grains[start]
        if len(self._counted) > _MAX_COUNTED:  # forget the oldest half: nearly all have ended
            for name in list(self._counted)[: _MAX_COUNTED // 2]:
                del self._counted[name]

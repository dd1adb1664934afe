"""How many attempts ended how, over time, as the records tell it.

Each record that comes into done/, failed/ or dead/ is read once; its history says when each
attempt ended. So the chart is right from the first look on, also for what happened before the
page was opened, and an event that the watch has lost is not lost here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.disk.reading import read_regular
from queuectl.errors import InvalidInput
from queuectl.record.job import MAX_RECORD_BYTES
from queuectl.spool import layout
from queuectl.spool.reader import Reader
from queuectl.view.pages import Entry

SPANS: dict[str, tuple[int, int]] = {"5m": (300, 5), "1h": (3600, 60), "24h": (86400, 1800)}
"""What can be seen: so many seconds in all, in buckets of so many."""
LONGEST = 86400
_GRAIN = 5
_MOST_KNOWN = 400_000
_FAILURES = ("failed", "timeout", "lost")


class Bucket(Struct, frozen=True):
    """What ended from `start` on (seconds since the epoch), for the length of a bucket."""

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
    """Attempts completed and failed, and jobs that died, counted by time."""

    def __init__(self, spool: Reader) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._grains: dict[int, list[int]] = {}
        self._counted: dict[str, int] = {}
        self._unread: list[Entry] = []

    def note(self, arrivals: Iterable[Entry], most: int) -> bool:
        """Count what is new in the records of jobs that have come into a state.

        At most so many are read, the newest first; returns whether some are left for later.
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
        """Return the buckets of a span, one of SPANS, the oldest first; the last is not over."""
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
            data, _ = read_regular(
                self._spool.layout.entry(entry.state, entry.name), MAX_RECORD_BYTES
            )
            return _decode(data).history
        except (OSError, msgspec.DecodeError, RecursionError):
            return []

    def _count(self, entry: Entry, attempts: list[_Ended], horizon: float) -> None:
        job_id = layout.stem(entry.name)
        known = self._counted.pop(job_id, 0)
        for ended in attempts[known:]:
            kind = 0 if ended.outcome == "ok" else 1 if ended.outcome in _FAILURES else None
            if kind is not None and ended.finished_at is not None:
                try:
                    self._add(clock.parse_timestamp(ended.finished_at), kind, horizon)
                except InvalidInput:
                    continue
        self._counted[job_id] = max(known, len(attempts))
        if entry.state == "dead":
            self._add(entry.changed / 1e9, 2, horizon)

    def _add(self, moment: float, kind: int, horizon: float) -> None:
        if moment > horizon:
            self._grains.setdefault(int(moment // _GRAIN) * _GRAIN, [0, 0, 0])[kind] += 1

    def _forget(self, horizon: float) -> None:
        for start in [start for start in self._grains if start < horizon]:
            del self._grains[start]
        if len(self._counted) > _MOST_KNOWN:  # the oldest half: they are over, nearly all
            for job_id in list(self._counted)[: _MOST_KNOWN // 2]:
                del self._counted[job_id]

"""Outcomes over time: how many attempts completed or failed and how many jobs died.

The attempt after which a job died counts as dead, and not as failed too. Each record that arrives
in done/, failed/ or dead/ is read once; its history says when each attempt ended. So the chart also
shows what happened before the page was opened, and an event that the watch has lost makes no
difference.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.view.pages import Entry
from queuectl.web.rendering import seconds_of

SPANS: dict[str, tuple[int, int]] = {"5m": (300, 5), "1h": (3600, 60), "24h": (86400, 1800)}
"""The spans of the chart: the length of each, and of its buckets, in seconds."""
LONGEST = 86400
_GRAIN_SECONDS = 5
MAX_REMEMBERED = 500_000
"""Jobs whose attempts are remembered as counted; of more, those that changed last."""
_COMPLETED, _FAILED, _DEAD = range(3)
_KINDS = {"ok": _COMPLETED, "failed": _FAILED, "timeout": _FAILED, "lost": _FAILED}


class Bucket(Struct, frozen=True):
    """What ended in one bucket, which begins at `start` (seconds since the epoch)."""

    start: float
    completed: int
    failed: int
    dead: int


class _Known(Struct, frozen=True, gc=False):
    """What is counted of a job: its first `attempts`, and whether it died after them."""

    attempts: int
    is_dead: bool
    changed: int


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
        self._known: dict[str, _Known] = {}
        self._unread: list[Entry] = []
        self._left_out = 0

    def note(self, arrivals: Iterable[Entry], most: int, left_out: int = 0) -> bool:
        """Count what is new in the records of jobs that have arrived in a state.

        At most `most` records are read, the newest first; returns whether some are left for the
        next call. `left_out` is the mtime, in ns, of the newest record that is not among them.
        """
        horizon = clock.now() - LONGEST
        ended = [e for e in arrivals if e.state != "pending" and e.changed / 1e9 > horizon]
        with self._lock:
            self._left_out = max(self._left_out, left_out)
            self._unread = sorted([*self._unread, *ended], key=lambda entry: entry.changed)
            now, self._unread = self._unread[-most:], self._unread[:-most]
        for entry in now:
            attempts = self._attempts(entry)
            with self._lock:
                self._count(entry, attempts, horizon)
        with self._lock:
            self._forget(horizon)
            return bool(self._unread)

    def complete_since(self) -> float:
        """Return the time since which everything is counted, in seconds since the epoch."""
        with self._lock:
            newest = self._unread[-1].changed if self._unread else 0
            return max(newest, self._left_out) / 1e9

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
        known = self._known.pop(entry.name, None)
        if known is None or known.attempts > len(attempts):  # not seen yet, or the id is used again
            horizon = max(horizon, self._left_out / 1e9)  # what is older may have been counted
            known = _Known(0, False, 0)
        is_dead = entry.state == "dead"
        kinds = [_KINDS.get(ended.outcome) for ended in attempts[known.attempts :]]
        times = [ended.finished_at for ended in attempts[known.attempts :]]
        if is_dead and kinds and kinds[-1] != _COMPLETED and times[-1]:
            kinds[-1] = _DEAD
        elif is_dead and not (known.is_dead and known.attempts == len(attempts)):
            self._add(entry.changed / 1e9, _DEAD, horizon)
        for kind, stamp in zip(kinds, times, strict=True):
            if kind is not None and (moment := seconds_of(stamp)) is not None:
                self._add(moment, kind, horizon)
        self._known[entry.name] = _Known(len(attempts), is_dead, entry.changed)

    def _add(self, moment: float, kind: int, horizon: float) -> None:
        if moment > horizon:
            self._grains.setdefault(int(moment // _GRAIN_SECONDS) * _GRAIN_SECONDS, [0, 0, 0])[
                kind
            ] += 1

    def _forget(self, horizon: float) -> None:
        for start in [start for start in self._grains if start < horizon]:
            del self._grains[start]
        if len(self._known) > MAX_REMEMBERED:
            for name in list(self._known)[: MAX_REMEMBERED // 2]:
                self._left_out = max(self._left_out, self._known.pop(name).changed)

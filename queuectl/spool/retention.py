"""Retention: removes finished jobs that are too old or too many, in small steps.

The oldest jobs are removed first. So the jobs that are too old and those that are too many are both
at the head of one order, and one listing of a directory serves both rules. At most 2 * `BATCH`
names are in memory, however many files there are.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Iterator, Sequence

from queuectl import clock, trouble
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.places import Place
from queuectl.spool.purge import purge_old
from queuectl.spool.spool import Spool

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two rounds, or five times the length of the round if that is longer. In between,
a fast queue keeps more jobs than the settings say."""
SLICE = 1.0
"""Seconds after which a round is interrupted for the rest of the housekeeping."""
BREATH = 0.005
"""Seconds of rest after each step, which belong to the slots."""
BATCH = 50_000
"""Jobs chosen from one listing of a directory; if there are more, it is listed again."""
STEP = 25
"""Jobs removed in one step."""
LOOKED_AT = 250
"""Files looked at in one step."""


Entered = tuple[int, str]
"""When a file entered its state (nanoseconds since the epoch), and its name."""


class Surplus:
    """Chooses the files to remove among those that are added: at most `most`, the oldest first.

    A file is removed if it entered its state `before` a time, or is not among the newest `keep`. Of
    files of the same age, those whose names sort last count as the newest, so that all workers
    choose the same files.
    """

    def __init__(self, *, before: int | None, keep: int | None, most: int) -> None:
        self._before = before
        self._keep = keep
        self._most = most
        self._seen = 0
        self._oldest: list[Entered] = []

    def add(self, entered: Entered) -> None:
        """Add a file."""
        self._seen += 1
        if self._keep is not None or self._is_too_old(entered):
            self._oldest.append(entered)
            if len(self._oldest) >= 2 * self._most:
                self._oldest = heapq.nsmallest(self._most, self._oldest)

    def chosen(self) -> list[Entered]:
        """Return the files to remove, once all have been added."""
        excess = 0 if self._keep is None else self._seen - self._keep
        oldest = heapq.nsmallest(self._most, self._oldest)
        return [e for rank, e in enumerate(oldest) if rank < excess or self._is_too_old(e)]

    def _is_too_old(self, entered: Entered) -> bool:
        return self._before is not None and entered[0] < self._before


class Retention:
    """The retention of one spool. It works for a moment at each call, until `closing` is set."""

    def __init__(self, spool: Spool, closing: threading.Event) -> None:
        self._spool = spool
        self._closing = closing
        self._steps: Iterator[None] | None = None
        self._spent = 0.0
        self.removed = 0
        """The number of jobs removed since this worker started."""
        self._next = 0.0
        self._told: set[str] = set()

    def continue_round(self) -> bool:
        """Remove jobs for a moment; return whether the round is over, or is not due yet.

        Raises OSError; then the rest is left to the next round.
        """
        started = clock.monotonic()
        if self._steps is None:
            if started < self._next:
                return True
            self._steps, self._spent = self._round(), 0.0
        over = True
        try:
            for _ in self._steps:
                if self._closing.wait(BREATH):
                    break
                if clock.monotonic() - started > SLICE:
                    over = False
                    break
        finally:
            self._spent += clock.monotonic() - started
            if over:
                self._steps = None
                self._next = clock.monotonic() + max(INTERVAL, 5 * self._spent)
        return over

    def _round(self) -> Iterator[None]:
        settings = self._spool.settings.last_good
        yield from self._apply("completed", settings.keep_done, settings.keep_done_count)
        yield from self._apply("dead", settings.keep_dead, settings.keep_dead_count)

    def _apply(self, state: State, age: float | None, keep: int | None) -> Iterator[None]:
        """Remove jobs older than `age` seconds or not among the newest `keep`; yield at a step."""
        while age is not None or keep is not None:
            if age is None and keep is not None and self._count(state) <= keep:
                return
            before = None if age is None else round((clock.now() - age) * 1e9)
            before_this = self.removed
            surplus = Surplus(before=before, keep=keep, most=BATCH)
            for number, entered in enumerate(self._spool.reader.entered(state), 1):
                surplus.add(entered)
                if number % LOOKED_AT == 0:
                    yield
            chosen = surplus.chosen()
            for start in range(0, len(chosen), STEP):
                for place in self._still(state, chosen[start : start + STEP]):
                    self._remove(place)
                yield
            if len(chosen) < BATCH or self.removed == before_this:
                return

    def _remove(self, place: Place) -> None:
        """Remove a job. One that cannot be removed is left, and reported once."""
        try:
            self.removed += purge_old(self._spool, place)
        except OSError as error:
            if trouble.owner(error) != "file":
                raise
            if place.path not in self._told:
                log.error("%s cannot be removed: %s", place.path, error)
            self._told.add(place.path)

    def _count(self, state: State) -> int:
        return sum(1 for _ in self._spool.reader.names(state))

    def _still(self, state: State, chosen: Sequence[Entered]) -> Iterator[Place]:
        """Yield the chosen jobs that have not moved since; a job that moved back counts as new."""
        for when, name in chosen:
            if self._spool.reader.entered_at(state, name) == when:
                yield Place(state, layout.stem(name), self._spool.layout.entry(state, name))

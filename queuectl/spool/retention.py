"""Which finished jobs go, by age and by number, and their removal in small steps.

What is oldest goes first, so what goes by age and what goes by number are both the head of one
order: one look at a directory serves both. Never more than twice `BATCH` names are held, however
many there are.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Sequence

from queuectl import clock
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.places import Place
from queuectl.spool.purge import purge
from queuectl.spool.spool import Spool

INTERVAL = 60.0
"""Seconds between a round and the next: on a fast queue it decides how far a number is overrun.
Five times as long as the round took, where that is more."""
SLICE = 1.0
"""Seconds of it after which the rest of the house is kept."""
BREATH = 0.005
"""Seconds that the slots have to themselves after each small step."""
BATCH = 50_000
"""Jobs chosen in one look at a directory; where more are to go it is looked at again."""
STEP = 25
"""Jobs removed in one go."""
LOOKED_AT = 250
"""Files looked at in one go."""


Entered = tuple[int, str]
"""When a file came into its state (nanoseconds since the epoch), and its name."""


class Surplus:
    """What is to go of the files that it is shown, at most `most` of them, the oldest first.

    That is what came `before` a time, and what is not among the newest `keep`; of those that
    came at the same time, the names that sort last stay, whoever decides.
    """

    def __init__(self, *, before: int | None, keep: int | None, most: int) -> None:
        self._before = before
        self._keep = keep
        self._most = most
        self._seen = 0
        self._oldest: list[Entered] = []

    def add(self, entered: Entered) -> None:
        """Be shown a file."""
        self._seen += 1
        if self._keep is not None or self._is_too_old(entered):
            self._oldest.append(entered)
            if len(self._oldest) >= 2 * self._most:
                self._oldest = heapq.nsmallest(self._most, self._oldest)

    def chosen(self) -> list[Entered]:
        """Return what is to go, once all were shown."""
        excess = 0 if self._keep is None else self._seen - self._keep
        oldest = heapq.nsmallest(self._most, self._oldest)
        return [e for rank, e in enumerate(oldest) if rank < excess or self._is_too_old(e)]

    def _is_too_old(self, entered: Entered) -> bool:
        return self._before is not None and entered[0] < self._before


class Retention:
    """The retention of one spool, gone on with for a moment at a time until `closing` is set."""

    def __init__(self, spool: Spool, closing: threading.Event) -> None:
        self._spool = spool
        self._closing = closing
        self._steps: Iterator[None] | None = None
        self._spent = 0.0
        self.removed = 0
        """Jobs, since this worker started."""
        self._next = 0.0

    def continue_round(self) -> bool:
        """Remove for a moment what is to go; return whether that was all, for now.

        Raises OSError; then what is left waits for the next round.
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
        """Remove what is past its age in seconds or not among the newest; yields at each step."""
        while age is not None or keep is not None:
            if age is None and keep is not None and self._count(state) <= keep:
                return
            before = None if age is None else round((clock.now() - age) * 1e9)
            surplus = Surplus(before=before, keep=keep, most=BATCH)
            for number, entered in enumerate(self._spool.reader.entered(state), 1):
                surplus.add(entered)
                if number % LOOKED_AT == 0:
                    yield
            chosen = surplus.chosen()
            for start in range(0, len(chosen), STEP):
                step = self._still(state, chosen[start : start + STEP])
                self.removed += purge(self._spool, step)
                yield
            if len(chosen) < BATCH:
                return

    def _count(self, state: State) -> int:
        return sum(1 for _ in self._spool.reader.names(state))

    def _still(self, state: State, chosen: Sequence[Entered]) -> Iterator[Place]:
        """Those that are what was looked at: one that was retried and came back is another."""
        for when, name in chosen:
            if self._spool.reader.entered_at(state, name) == when:
                yield Place(state, layout.stem(name), self._spool.layout.entry(state, name))

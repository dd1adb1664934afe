"""What a worker does beside the jobs: recover, scan, sweep, and apply retention.

All of it runs in one thread of its own, because each part may take long (a million files, a
process that will not die) and none may hold a slot up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator

from queuectl import clock
from queuectl.disk.durable import discard_tree
from queuectl.errors import QueuectlError, SpoolUnusable
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.hook_markers import Heir
from queuectl.spool.recovery import recover
from queuectl.spool.retention import Retention
from queuectl.spool.spool import Spool

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 600.0
"""Seconds between sweeps of leftovers."""
ENOUGH_RETENTION = 10_000
"""Jobs that retention removes before a worker which drains leaves, if there are so many."""
UNWATCHED_INTERVAL = 1.0
"""Seconds between scans while no watch tells of new files."""
LONGEST_INTERVAL = 60.0
"""Seconds between scans under a watch, where a directory takes long to be listed."""
MTIME_TICK = 0.1
"""Seconds: within a tick of the file system's clock a change may leave the mtime as it was."""


class Housekeeper:
    """The periodic work of one worker, in a thread of its own.

    `look(state, name)` is told of every waiting file for which `knows(state, name)` is false,
    after `look_ahead()` has read many of them in a quicker way;
    `recovered(count)` when jobs of dead workers were moved on, whose hooks become the `heir`'s;
    `each_round()` is called at every rescan and returns whether a watch is in place.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        look: Callable[[State, str], None],
        look_ahead: Callable[[], Iterator[int]],
        knows: Callable[[State, str], bool],
        each_round: Callable[[], bool],
        overflowed: threading.Event,
        recovered: Callable[[int], None],
        heir: Heir | None = None,
    ) -> None:
        self.spool = spool
        self.scanned = threading.Event()
        self.been_round = threading.Event()
        """Set once everything has been done once: scan, recovery, sweep, and some retention."""
        self._look = look
        self._look_ahead = look_ahead
        self._knows = knows
        self._each_round = each_round
        self._overflowed = overflowed
        self._recovered = recovered
        self._heir = heir
        self._root = os.stat(spool.layout.root)
        self._mtimes: dict[State, int] = {}
        self._next_scan: dict[State, float] = {}
        self._next_full_look = 0.0
        self._next_sweep = 0.0
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._retention = Retention(spool, self._closing)

    def run(self) -> None:
        """Keep house until closed. Raises SpoolUnusable if the spool is gone."""
        while not self._closing.is_set():
            self._hurry.clear()
            watched = self._round()
            interval = self.spool.settings.last_good.rescan_interval
            self._hurry.wait(interval if watched else min(interval, UNWATCHED_INTERVAL))

    def hurry(self) -> None:
        """Start the next round now."""
        self._hurry.set()

    def close(self) -> None:
        """End after the part that is under way."""
        self._closing.set()
        self._hurry.set()

    def _round(self) -> bool:
        watched = False
        with self._trouble("the spool's state"):
            self._see_that_it_stands()
            watched = self._each_round()
        started, anew = clock.monotonic(), self._is_doubtful(watched)
        for state in layout.WAITING:
            with self._trouble(f"{state} jobs"):
                self._scan(state, anew=anew, watched=watched)
        self.scanned.set()
        if anew:
            self._next_full_look = _in_proportion(started)
        settings = self.spool.settings.last_good
        with self._trouble("recovery"):
            grace = settings.kill_grace
            moved = recover(self.spool, grace=grace, draw=random.random(), heir=self._heir)
            self._recovered(len(moved))
        if clock.monotonic() >= self._next_sweep:
            self._next_sweep = clock.monotonic() + SWEEP_INTERVAL
            with self._trouble("sweeping"):
                self._sweep()
        over = True
        with self._trouble("retention"):
            over = self._retention.go_on()
        if over or self._retention.removed >= ENOUGH_RETENTION:
            self.been_round.set()
        if not over:
            self._hurry.set()
        return watched

    @contextlib.contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            yield
        except SpoolUnusable:
            raise
        except (OSError, QueuectlError) as error:
            log.error("%s: %s", what, error)

    def _see_that_it_stands(self) -> None:
        """Make directories that somebody removed; raise SpoolUnusable if the spool is gone."""
        root = self.spool.layout.root
        try:
            if not os.path.samestat(os.stat(root), self._root):
                raise SpoolUnusable(f"{root} was replaced by another directory: not our spool")
        except FileNotFoundError:
            raise SpoolUnusable(f"{root} is gone: moved or removed") from None
        for directory in self.spool.layout.directories:
            if not os.path.lexists(directory):
                log.warning("%s was gone: made again", directory)
        self.spool.make_directories()

    def _is_doubtful(self, watched: bool) -> bool:
        """Whether a change to a known file may have gone unseen: an event was lost."""
        if watched and not self._overflowed.is_set():
            return False
        if clock.monotonic() < self._next_full_look:
            return False
        self._overflowed.clear()
        return True

    def _scan(self, state: State, *, anew: bool, watched: bool) -> None:
        """Look at all waiting files that nobody has told of; none if nothing has changed.

        With `anew` at all of them, also those that are known.
        """
        before, started = clock.now(), clock.monotonic()
        if watched and not anew and started < self._next_scan.get(state, 0.0):
            return
        mtime = os.stat(self.spool.layout.states[state]).st_mtime_ns
        if self._mtimes.get(state) == mtime and not anew:
            return
        complete = mtime / 1e9 < before - MTIME_TICK
        if state == "pending":  # not failed/: a drain would wait for a retry that is over
            for _ in self._look_ahead():
                anew = False  # what has just been read need not be read again
                if self._closing.is_set():
                    return
        for name in self.spool.names(state):
            if self._closing.is_set():
                return
            if anew or not self._knows(state, name):
                self._look(state, name)
                complete = complete and self._knows(state, name)
        if complete:
            self._mtimes[state] = mtime
        self._next_scan[state] = min(_in_proportion(started), clock.monotonic() + LONGEST_INTERVAL)

    def _sweep(self) -> None:
        """Remove leftovers of writers that died."""
        limit = clock.now() - layout.LEFTOVER_SECONDS
        for path in self.spool.leftovers():
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_mtime < limit:
                    discard_tree(path)


def _in_proportion(started: float) -> float:
    """When to do again what was started then and is over now: it gets a twentieth of the time."""
    return clock.monotonic() + 20 * (clock.monotonic() - started)

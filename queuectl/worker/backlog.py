"""The backlog: the waiting jobs that a worker knows of, in the order in which they run.

The backlog saves the worker from listing `pending/` and `failed/` at every claim; an entry takes
about 250 bytes, also with a million entries. Jobs run by priority, then by age. An entry is only a
hint: by the time it is claimed, the job may have changed or be gone.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable

from msgspec import Struct

from queuectl import clock
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.places import Ready, Seen

_LONGEST_WAIT = 3600.0  # seconds after which the wall clock is read again at the latest
_Entry = tuple[int, float, float, State, str, str | None, int]
# -priority, created, due, state, name, id (None if the name says it), attempts


class Waiting(Struct, frozen=True, array_like=True, gc=False):
    """What the backlog knows of a waiting job; `created` and `due` in seconds since the epoch."""

    name: str
    id: str
    priority: int
    created: float
    due: float
    attempts: int

    @classmethod
    def of(cls, name: str, seen: Ready) -> Waiting:
        """Make the entry of a job from its record."""
        created, due = (
            clock.parse_timestamp(stamp) if stamp else 0.0
            for stamp in (seen.job.created_at, seen.job.run_at)
        )
        return cls(name, seen.id, seen.job.priority, created, due, seen.attempts)


class Backlog:
    """The waiting jobs of one worker; all of its threads share it."""

    def __init__(self) -> None:
        self._known: dict[State, dict[str, _Entry]] = {"pending": {}, "failed": {}}
        self._due: list[_Entry] = []
        self._later: list[tuple[float, _Entry]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._takers = 0

    def add(self, state: State, name: str, seen: Ready) -> None:
        """Add a waiting job, in place of what was known of it before."""
        self.add_all(state, [Waiting.of(name, seen)])

    def add_all(self, state: State, jobs: Iterable[Waiting]) -> None:
        """Add many waiting jobs."""
        with self._changed:
            known, now = self._known[state], clock.now()
            for job in jobs:
                other = None if job.id == layout.stem(job.name) else job.id
                due = job.due or 0.0  # all jobs that are due share one zero object
                entry = (-job.priority, job.created, due, state, job.name, other, job.attempts)
                if known.get(job.name) == entry:
                    continue
                known[job.name] = entry
                if job.due > now:
                    heapq.heappush(self._later, (job.due, entry))
                else:
                    heapq.heappush(self._due, entry)
                self._changed.notify()

    def forget(self, state: State, name: str) -> None:
        """Forget a job that is gone. Its entry leaves the heap when its turn comes."""
        with self._changed:
            self._known[state].pop(name, None)

    def knows(self, state: State, name: str) -> bool:
        """Whether a waiting job of that name is known."""
        return name in self._known[state]

    def names(self, state: State) -> set[str]:
        """Return the names of all known jobs that wait in a state."""
        with self._changed:
            return set(self._known[state])

    def take(
        self, *, wait: bool = True, waiting: Callable[[], None] = lambda: None
    ) -> tuple[State, str, Seen] | None:
        """Take out the next job that is due; return its state, its name and how it was seen.

        If no job is due, call `waiting` and wait for one; without `wait`, return None. Returns
        None once the backlog is closed.
        """
        with self._changed:
            while not self._closed:
                self._promote()
                while self._due:
                    entry = heapq.heappop(self._due)
                    _, _, _, state, name, other_id, attempts = entry
                    if self._known[state].get(name) is entry:
                        del self._known[state][name]
                        return state, name, Seen(other_id or layout.stem(name), attempts)
                if not wait:
                    return None
                self._takers += 1
                waiting()
                self._changed.wait(self._seconds_to_next())
                self._takers -= 1
        return None

    def look_at_the_clock(self) -> None:
        """Find the jobs that have become due, also if the wall clock was set forward."""
        with self._changed:
            self._promote()

    def close(self) -> None:
        """Give out no more jobs, and wake all threads that wait for one."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_idle(self, takers: int) -> bool:
        """Whether exactly `takers` slots wait for a job, and no job is due or waits for a retry."""
        with self._changed:
            if self._takers != takers or self._known["failed"]:
                return False
            self._promote()
            return len(self._known["pending"]) == len(self._scheduled())

    def scheduled(self) -> list[tuple[State, str]]:
        """Return the states and names of the known jobs whose time has not come yet."""
        with self._changed:
            self._promote()
            return [(entry[3], entry[4]) for entry in self._scheduled()]

    def _scheduled(self) -> list[_Entry]:
        return [e for _, e in self._later if self._known[e[3]].get(e[4]) is e]

    def _promote(self) -> None:
        now = clock.now()
        while self._later and self._later[0][0] <= now:
            heapq.heappush(self._due, heapq.heappop(self._later)[1])
            self._changed.notify()

    def _seconds_to_next(self) -> float:
        if not self._later:
            return _LONGEST_WAIT
        return min(max(self._later[0][0] - clock.now(), 0.0), _LONGEST_WAIT)

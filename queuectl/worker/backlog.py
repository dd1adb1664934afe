"""What a worker knows of `pending/` and `failed/`: what is due next, and when to wake up.

Knowledge, not truth: an entry may be gone or changed by the time it is claimed. Keys are in
the order in which jobs run: priority, then age. A million entries are held at about 250 bytes
each, so that the directories need not be listed at every claim.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable

from msgspec import Struct

from queuectl import clock
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.places import Ready, Seen, Unfit

Name = tuple[State, str]

_LONGEST_WAIT = 3600.0  # seconds; the wall clock is looked at again at least so often
_Entry = tuple[int, float, float, State, str, str | None, int]
# -priority, created, due, state, name, id where it is not the name's, attempts


class Waiting(Struct, frozen=True, array_like=True, gc=False):
    """What there is to know of a waiting job: `created` and `due` in seconds since the epoch."""

    name: str
    id: str
    priority: int
    created: float
    due: float
    attempts: int

    @classmethod
    def of(cls, name: str, seen: Ready) -> Waiting:
        """Take it out of a job's record."""
        created, due = (
            clock.parse_timestamp(stamp) if stamp else 0.0
            for stamp in (seen.job.created_at, seen.job.run_at)
        )
        return cls(name, seen.id, seen.job.priority, created, due, seen.attempts)


class Backlog:
    """The waiting jobs, shared by the slots of one worker."""

    def __init__(self) -> None:
        self._known: dict[State, dict[str, _Entry]] = {"pending": {}, "failed": {}}
        self._due: list[_Entry] = []
        self._later: list[tuple[float, _Entry]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._takers = 0

    def add(self, state: State, name: str, seen: Ready) -> None:
        """Know of a waiting job; what was known of it before is forgotten."""
        self.add_all(state, [Waiting.of(name, seen)])

    def add_all(self, state: State, jobs: Iterable[Waiting]) -> None:
        """Know of many waiting jobs."""
        with self._changed:
            known, now = self._known[state], clock.now()
            for job in jobs:
                other = None if job.id == layout.stem(job.name) else job.id
                due = job.due or 0.0  # one zero for all
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
        """Forget a job that is gone. Its place in the order is dropped when it comes up."""
        with self._changed:
            self._known[state].pop(name, None)

    def knows(self, state: State, name: str) -> bool:
        """Whether a job of that name is known to wait."""
        return name in self._known[state]

    def names(self, state: State) -> set[str]:
        """Return the names of all the jobs that are known to wait in a state."""
        with self._changed:
            return set(self._known[state])

    def take(
        self, *, wait: bool = True, waiting: Callable[[], None] = lambda: None
    ) -> tuple[State, str, Seen] | None:
        """Take out a job that is due, as it was seen; None once the backlog is closed.

        While there is none it waits for one, having called `waiting`; without `wait` it returns
        None.
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
        """Notice what has become due, also if the wall clock was set forward."""
        with self._changed:
            self._promote()

    def close(self) -> None:
        """Give out no more jobs, and let everyone who waits for one go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_idle(self, takers: int) -> bool:
        """Whether so many slots wait for a job, and none is due or waits for a retry."""
        with self._changed:
            if self._takers != takers or self._known["failed"]:
                return False
            self._promote()
            return len(self._known["pending"]) == len(self._scheduled())

    def scheduled(self) -> int:
        """Count the jobs that are for later."""
        with self._changed:
            self._promote()
            return len(self._scheduled())

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


class Unready:
    """Files that are no jobs, perhaps not yet: bad once they have been left alone for long enough.

    Quiet is measured on the monotonic clock, from when a file was first seen as it is.
    """

    def __init__(self) -> None:
        self._since: dict[Name, tuple[tuple[int, ...], float]] = {}

    def is_bad(self, state: State, name: str, seen: Unfit, quiet_period: float) -> bool:
        """Note how the file looks now; True if it has looked so for `quiet_period` seconds."""
        now = clock.monotonic()
        version, since = self._since.get((state, name), (None, now))
        if version != seen.version or seen.being_written:
            since = now
        self._since[state, name] = (seen.version, since)
        return now - since >= quiet_period

    def add(self, state: State, name: str) -> None:
        """Note a file that cannot be taken yet, for a reason that is not in it."""
        self._since[state, name] = ((), clock.monotonic())

    def forget(self, state: State, name: str) -> None:
        """The file is gone, or has become a job."""
        self._since.pop((state, name), None)

    def __contains__(self, name: Name) -> bool:
        return name in self._since

    def names(self) -> list[Name]:
        """Return the files that must be looked at again."""
        return list(self._since)

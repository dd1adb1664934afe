"""What a worker knows of `pending/` and `failed/`: what is due next, and when to wake up.

Knowledge, not truth: an entry may be gone or changed by the time it is claimed. Keys are in
the order in which jobs run: priority, then age. A million entries are held at about 250 bytes
each, so that the directories need not be listed at every claim.
"""

from __future__ import annotations

import heapq
import threading

from queuectl import clock
from queuectl.job import Job, State
from queuectl.lookup import Unfit

Name = tuple[State, str]

_LONGEST_WAIT = 3600.0  # seconds; the wall clock is looked at again at least so often
_Entry = tuple[int, float, float, State, str]  # -priority, created, due, state, name


class Backlog:
    """The waiting jobs, shared by the slots of one worker."""

    def __init__(self) -> None:
        self._known: dict[State, dict[str, _Entry]] = {"pending": {}, "failed": {}}
        self._due: list[_Entry] = []
        self._later: list[tuple[float, _Entry]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._takers = 0

    def add(self, state: State, name: str, job: Job) -> None:
        """Know of a waiting job; what was known of it before is forgotten."""
        created = clock.parse_timestamp(job.created_at) if job.created_at else 0.0
        due = clock.parse_timestamp(job.run_at) if job.run_at else 0.0
        entry = (-job.priority, created, due, state, name)
        with self._changed:
            if self._known[state].get(name) == entry:
                return
            self._known[state][name] = entry
            if due > clock.now():
                heapq.heappush(self._later, (due, entry))
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

    def take(self) -> Name | None:
        """Wait for a job that is due, and take it out; None once the backlog is closed."""
        with self._changed:
            while not self._closed:
                self._promote()
                while self._due:
                    entry = heapq.heappop(self._due)
                    if self._known[entry[3]].get(entry[4]) is entry:
                        del self._known[entry[3]][entry[4]]
                        return entry[3], entry[4]
                self._takers += 1
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
            self._promote()
            if self._takers != takers or self._known["failed"]:
                return False
            due = sum(map(len, self._known.values())) - len(self._scheduled())
            return not due

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

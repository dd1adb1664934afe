"""The waiting files that are not jobs, perhaps not yet: a writer may still be writing them."""

from __future__ import annotations

from queuectl import clock
from queuectl.record.job import State
from queuectl.spool.places import Unfit

Name = tuple[State, str]


class Unready:
    """The files that are not ready. A file is bad when nobody has changed it for long enough.

    That time is measured on the monotonic clock, from when the file was first seen as it is now.
    """

    def __init__(self) -> None:
        self._since: dict[Name, tuple[tuple[int, ...], float]] = {}

    def is_bad(self, state: State, name: str, seen: Unfit, quiet_period: float) -> bool:
        """Note how a file looks now; True if it has looked like that for `quiet_period` seconds."""
        now = clock.monotonic()
        version, since = self._since.get((state, name), (None, now))
        if version != seen.version or seen.being_written:
            since = now
        self._since[state, name] = (seen.version, since)
        return now - since >= quiet_period

    def add(self, state: State, name: str) -> None:
        """Note a file that cannot be claimed yet, for a reason other than its content."""
        self._since[state, name] = ((), clock.monotonic())

    def forget(self, state: State, name: str) -> None:
        """Forget a file: it is gone, or has become a job."""
        self._since.pop((state, name), None)

    def __contains__(self, name: Name) -> bool:
        return name in self._since

    def names(self) -> list[Name]:
        """Return the files that must be looked at again."""
        return list(self._since)

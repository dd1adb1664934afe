"""Takes waiting files into the backlog, and moves files that are not valid jobs to `dead/`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice

from queuectl import clock
from queuectl.disk.reading import exists
from queuectl.errors import QueuectlError
from queuectl.record.job import State
from queuectl.spool.places import WAITING, Ready, Unfit
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.worker import prescan
from queuectl.worker.backlog import Backlog
from queuectl.worker.hooks import Hooks
from queuectl.worker.postponed import Postponed
from queuectl.worker.unready import Name, Unready

log = logging.getLogger(__name__)


class Intake:
    """Looks at waiting files and remembers what it saw; all threads of a worker share it."""

    def __init__(
        self,
        spool: Spool,
        hooks: Hooks,
        changed: Callable[[], None] = lambda: None,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self.spool = spool
        self.changed = changed
        """Wakes the main thread: it has to look at something sooner than it had thought."""
        self._hooks = hooks
        self._observer = observer
        self.backlog = Backlog()
        self.unready = Unready()
        self.postponed = Postponed[Name](changed)
        self._next_look = 0.0

    def look(self, state: State, name: str) -> None:
        """Look at a waiting file, and update the backlog and the files that are not ready.

        A file that is postponed waits, whatever events tell of it. One that cannot be looked at
        now, through no fault of its own, is postponed.
        """
        if (state, name) in self.postponed:
            return
        try:
            found = self.spool.reader.look(state, name)
            if isinstance(found, Ready):
                self.unready.forget(state, name)
                self.backlog.add(state, name, found)
                return
            self.backlog.forget(state, name)
            quiet = self.spool.settings.last_good.quiet_period
            if found is None:
                self.unready.forget(state, name)
                self.postponed.over((state, name))
            elif self.unready.is_bad(state, name, found, quiet):
                kept = self._reject(self.spool.layout.entry(state, name), found)
                self.unready.forget(state, name)
                if kept is not None:
                    log.warning(
                        "%r is not a valid job; moved to dead/ as %s: %s", name, kept, found.reason
                    )
        except (OSError, QueuectlError) as error:
            self.postponed.put_off((state, name), f"{name!r} cannot be read: {error}")

    def _reject(self, path: str, found: Unfit) -> str | None:
        marker = self._hooks.announce_reject(path, found.reason)
        moved = False
        try:
            kept = reject(self.spool, path, found.reason, seen=found)
            moved = kept is not None
        except (OSError, QueuectlError):
            moved = not exists(path)  # only the last steps have failed
            raise
        finally:
            if moved:
                self._hooks.happened(marker)
                self._observer.rejected()
            else:
                self._hooks.withdraw(marker)
        return kept

    def knows(self, state: State, name: str) -> bool:
        """Whether a waiting file is known, as a job or as a file that waits for a look."""
        waits = (state, name) in self.unready or (state, name) in self.postponed
        return waits or self.backlog.knows(state, name)

    def read_ahead(self) -> Iterator[int]:
        """Read `pending/` in a prescan process, if many of its files are not known.

        Yields the number of jobs read so far, after each batch.
        """
        names = self.spool.reader.names("pending")
        unknown = (name for name in names if not self.knows("pending", name))
        if prescan.is_possible() and any(True for _ in islice(unknown, prescan.MANY, None)):
            count = 0
            for jobs in prescan.prescan(self.spool.reader):
                self.backlog.add_all("pending", jobs)
                yield (count := count + len(jobs))

    def look_at_unknown(self) -> None:
        """Look at all waiting files that are not known."""
        for state in WAITING:
            for name in self.spool.reader.names(state):
                if not self.knows(state, name):
                    self.look(state, name)

    def look_again(self) -> None:
        """Look again at the files that are not ready, and at those that were postponed, if due."""
        for state, name in self.postponed.due():
            self.look(state, name)
        if self.unready.names() and clock.monotonic() >= self._next_look:
            for state, name in self.unready.names():
                self.look(state, name)
            self._next_look = clock.monotonic() + self.pause()

    def scheduled(self) -> int:
        """Count the jobs that wait for a later time. No event tells of one that was cancelled."""
        known = self.backlog.scheduled()
        states = {state for state, _ in known}
        there = {(state, name) for state in states for name in self.spool.reader.names(state)}
        return sum(1 for each in known if each in there)

    @property
    def awaits_files(self) -> bool:
        """Whether a file waits for another look."""
        return bool(self.unready.names() or self.postponed)

    def seconds_to_next(self) -> float | None:
        """Return the seconds until `look_again` has something to do; None if nothing waits."""
        next_look = self.postponed.seconds_to_next()
        if not self.unready.names():
            return next_look
        return self.pause() if next_look is None else min(next_look, self.pause())

    def pause(self) -> float:
        """Return the seconds between two looks at files that are not ready."""
        return max(min(self.spool.settings.last_good.quiet_period / 4, 1.0), 0.02)

"""The way from a file that stands in `pending/` or `failed/` into the backlog, or to `dead/`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice

from queuectl import clock
from queuectl.disk.reading import exists
from queuectl.errors import QueuectlError
from queuectl.record.job import State
from queuectl.spool import layout
from queuectl.spool.reader import Ready, Unfit
from queuectl.spool.spool import Spool
from queuectl.worker import prescan
from queuectl.worker.backlog import Backlog, Unready
from queuectl.worker.hooks import Hooks

log = logging.getLogger(__name__)


class Intake:
    """Looks at waiting files and keeps what it has seen; used by all threads of a worker."""

    def __init__(self, spool: Spool, hooks: Hooks) -> None:
        self.spool = spool
        self._hooks = hooks
        self.backlog = Backlog()
        self.unready = Unready()
        self._next_look = 0.0

    def look(self, state: State, name: str) -> None:
        """Bring what is known of a waiting file up to date."""
        try:
            sight = self.spool.look(state, name)
            if isinstance(sight, Ready):
                self.unready.forget(state, name)
                self.backlog.add(state, name, sight)
                return
            self.backlog.forget(state, name)
            quiet = self.spool.settings.last_good.quiet_period
            if sight is None:
                self.unready.forget(state, name)
            elif self.unready.is_bad(state, name, sight, quiet):
                path = self.spool.layout.entry(state, name)
                kept = self._reject(path, sight)
                self.unready.forget(state, name)
                if kept is not None:
                    log.warning("%r is no job, now dead as %s: %s", name, kept, sight.reason)
        except (OSError, QueuectlError) as error:
            log.error("%r cannot be looked at: %s", name, error)

    def _reject(self, path: str, sight: Unfit) -> str | None:
        marker = self._hooks.announce_reject(path, sight.reason)
        moved = False
        try:
            kept = self.spool.reject(path, sight.reason, seen=sight)
            moved = kept is not None
        except (OSError, QueuectlError):
            moved = not exists(path)  # all but the last steps were done
            raise
        finally:
            if moved:
                self._hooks.happened(marker)
            else:
                self._hooks.withdraw(marker)
        return kept

    def knows(self, state: State, name: str) -> bool:
        """Whether a waiting file needs no look: it is known as a job, or watched as none."""
        return self.backlog.knows(state, name) or (state, name) in self.unready

    def look_ahead(self) -> Iterator[int]:
        """Have `pending/` read in another process, if many that are in it are not known.

        Yields how many have been read, again and again, until all have been.
        """
        names = self.spool.names("pending")
        unknown = (name for name in names if not self.knows("pending", name))
        if prescan.can_be_sent() and any(True for _ in islice(unknown, prescan.MANY, None)):
            count = 0
            for jobs in prescan.scout(self.spool):
                self.backlog.add_all("pending", jobs)
                yield (count := count + len(jobs))

    def look_at_what_is_new(self) -> None:
        """Look at all waiting files that nothing has told of."""
        for state in layout.WAITING:
            for name in self.spool.names(state):
                if not self.knows(state, name):
                    self.look(state, name)

    def look_again(self) -> None:
        """Look, if it is time to, at the files that are no jobs, perhaps not yet."""
        if self.unready.names() and clock.monotonic() >= self._next_look:
            for state, name in self.unready.names():
                self.look(state, name)
            self._next_look = clock.monotonic() + self.pause()

    def pause(self) -> float:
        """Return the seconds between two looks at those."""
        return max(min(self.spool.settings.last_good.quiet_period / 4, 1.0), 0.02)

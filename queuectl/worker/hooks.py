"""The hooks of one worker: which are due, and the threads that run them.

Hooks run in threads of their own, at most as many at a time as the worker has slots, so no slot
waits for a hook. A hook runs at least once. Its marker is removed when its command has ended, also
if the command failed: the failure is logged, and the hook is not run again. If the worker stops now
or dies, its markers remain, and the worker that recovers it runs those hooks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable

from queuectl.errors import QueuectlError
from queuectl.process.waiting import StopSwitch
from queuectl.record.hook_event import Marker
from queuectl.record.job import Job, State
from queuectl.record.settings import Settings
from queuectl.spool import hook_markers
from queuectl.spool.places import Claim
from queuectl.spool.spool import Spool
from queuectl.worker.hook_run import run_hook
from queuectl.worker.pauses import Pauses
from queuectl.worker.run_end import NotEnded

log = logging.getLogger(__name__)


class Hooks:
    """The due and the running hooks of one worker.

    First an event is announced: its marker is written. When the event has taken place, its hook is
    due; if it does not take place, it is withdrawn. `changed()` is called, from any thread, when
    a thread has no more hooks to run, and when a dead holder was recovered.
    """

    def __init__(
        self, spool: Spool, worker: str, limit: int, *, changed: Callable[[], None]
    ) -> None:
        self.worker = worker
        self.active = threading.Event()
        """Set when work was done. The worker clears it when it looks whether the queue is idle."""
        self._spool = spool
        self._limit = limit
        self._changed = changed
        self._lock = threading.Lock()
        self._due: deque[str] = deque()  # names of markers
        self._idle_due: str | None = None  # the due marker of the event `idle`
        self._running: dict[threading.Thread, StopSwitch] = {}
        self._pauses = Pauses()

    # -- events ----------------------------------------------------------------------------

    def announce(
        self, claim: Claim, record: Job, target: State, settings: Settings, *, again: str | None
    ) -> str | None:
        """Write the marker of an outcome that is about to be written; return the marker's name.

        Returns None if the outcome is not an event or has no hook. `again` is the marker of an
        earlier try that failed; it is withdrawn. Raises NotDurable, OSError.
        """
        self.withdraw(again)
        return hook_markers.put_for(self._spool, claim, record, target, settings)

    def announce_reject(self, path: str, reason: str) -> str | None:
        """Write the marker of a file that is about to be rejected; return the marker's name."""
        return hook_markers.put_for_reject(self._spool, self.worker, path, reason)

    def withdraw(self, name: str | None) -> None:
        """Remove a marker whose event did not take place. Raises NotDurable, OSError."""
        if name is not None:
            # The marker is missing if the directory of the worker's claims was removed.
            with contextlib.suppress(FileNotFoundError):
                self._spool.disk.remove(self._spool.layout.hook(self.worker, name))

    def happened(self, name: str | None) -> None:
        """Make the hook of a marker due: its event has taken place."""
        if name is not None:
            self._add([name])

    def inherit(self, names: list[str]) -> None:
        """Make the hooks of a dead holder due. Its recovery counts as work that was done."""
        self.active.set()
        self._add(names)
        self._changed()

    def become_idle(self) -> None:
        """Announce that the queue has become idle; do nothing if such a hook is already due.

        Raises NotDurable, OSError.
        """
        if self._idle_due is None:
            self._idle_due = hook_markers.put(self._spool, self.worker, Marker(event="idle"))
            self.happened(self._idle_due)

    # -- threads ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a hook is due or running."""
        return bool(self._running)

    @property
    def left(self) -> int:
        """The number of hooks that are due or running."""
        with self._lock:
            return len(self._due) + len(self._running)

    def stop_now(self) -> None:
        """End the running hooks, and leave them and the due ones to recovery."""
        with self._lock:
            self._pauses.given_up.set()
            self._due.clear()
            for switch in self._running.values():
                switch.stop("interrupted")

    def _add(self, names: list[str]) -> None:
        with self._lock:
            if self._pauses.given_up.is_set():
                return
            self._due.extend(names)
            for _ in range(min(len(names), self._limit - len(self._running))):
                thread = threading.Thread(target=self._work, name="hook")
                self._running[thread] = StopSwitch()
                thread.start()

    def _work(self) -> None:
        """Run hooks until none is due."""
        me = threading.current_thread()
        switch = self._running[me]
        while True:
            with self._lock:
                if not self._due:
                    del self._running[me]
                    break
                name = self._due.popleft()
                if name == self._idle_due:
                    self._idle_due = None
            self._run(name, switch)
        switch.close()
        self._changed()

    def _run(self, name: str, switch: StopSwitch) -> None:
        """Run one hook; after an error of the disk, try again until it runs or the worker stops."""
        me = threading.get_ident()
        while not self._pauses.given_up.is_set():
            try:
                run_hook(self._spool, self.worker, name, switch, self._pauses.given_up)
            except (OSError, QueuectlError) as error:
                self._pauses.pause(me, f"hook {name} cannot be run: {error}")
            except NotEnded as error:
                log.error("hook %s is left to the next worker: %s", name, error)
                return
            except Exception:  # a bug: the other hooks run all the same
                log.exception("hook %s is left to the next worker", name)
                return
            else:
                self._pauses.reset(me)
                return

"""The hooks of one worker: which are due, and the threads that run them.

Hooks run in threads of their own, at most as many at a time as the worker has slots, so no slot
waits for a hook. A hook runs at least once. Its marker is removed when its command has ended, also
if the command failed: the failure is logged, and the hook is not run again. If the worker stops now
or dies, its markers remain, and the worker that recovers it runs those hooks.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from queuectl.errors import QueuectlError
from queuectl.process.waiting import StopSwitch
from queuectl.record.hook_event import Marker
from queuectl.record.job import Job, State
from queuectl.record.settings import Settings
from queuectl.spool import hook_markers
from queuectl.spool.places import Claim
from queuectl.spool.spool import Spool
from queuectl.worker import threads
from queuectl.worker.hook_run import run_hook
from queuectl.worker.pauses import Pauses
from queuectl.worker.run_end import NotEnded

log = logging.getLogger(__name__)


class Hooks:
    """The due and the running hooks of one worker.

    First an event is announced: its marker is written. When the event has taken place, its hook is
    due; if it does not take place, it is withdrawn. `changed()` is called, from any thread, when
    a thread has no more hooks to run, when none can be started for a hook that is due, and when a
    dead holder was recovered.
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
        self._running: dict[int, StopSwitch] = {}  # one for each thread
        self._numbers = itertools.count()
        self._is_told = False
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
        return bool(self._due or self._running)

    @property
    def waiting(self) -> bool:
        """Whether a hook is due that has no thread: see `start_due`."""
        return bool(self._due) and len(self._running) < self._limit

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
        self.start_due()
        if self.waiting:
            self._changed()

    def start_due(self) -> None:
        """Start threads for the hooks that are due.

        If that is not possible now (no thread, no descriptor), the hooks stay due: call this again.
        """
        with self._lock:
            try:
                for _ in range(min(len(self._due), self._limit - len(self._running))):
                    self._start_thread()
                self._is_told = False
            except OSError as error:
                if not self._is_told:
                    log.error("hooks wait: %s", error)
                self._is_told = True

    def _start_thread(self) -> None:
        number, switch = next(self._numbers), StopSwitch()
        self._running[number] = switch
        try:
            threads.start("hook", partial(self._work, switch), partial(self._ended, number))
        except OSError:
            del self._running[number]
            switch.close()
            raise

    def _work(self, switch: StopSwitch) -> None:
        """Run hooks until none is due."""
        while True:
            with self._lock:
                if not self._due:
                    return
                name = self._due.popleft()
                if name == self._idle_due:
                    self._idle_due = None
            self._run(name, switch)

    def _ended(self, number: int, error: BaseException | None) -> None:
        """Count out a thread. If a hook has become due since the thread looked, start another."""
        if error is not None:
            log.critical("a thread of hooks has ended by %s: %s", type(error).__name__, error)
        with self._lock:
            self._running.pop(number).close()
        self.start_due()
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

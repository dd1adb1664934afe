"""The hooks of one worker: runs the commands that the settings name for events.

They run in threads of their own, as many at a time as the worker has slots, so that no slot
waits for one. A hook is run at least once: its marker goes when its command has ended, however it
has; what went wrong is logged and not run again. Markers that are left when the worker leaves, or
dies, are run by whoever recovers it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from queuectl.disk.durable import create, discard
from queuectl.errors import QueuectlError
from queuectl.process import spawn, survivors
from queuectl.process.spawn import Child
from queuectl.process.waiting import StopSwitch, wait
from queuectl.record.job import Attempt, Job, Outcome, State
from queuectl.record.outcome import ended
from queuectl.record.settings import Settings
from queuectl.spool import hook_markers
from queuectl.spool.hook_markers import VARIABLES, Marker
from queuectl.spool.places import Claim
from queuectl.spool.spool import Spool
from queuectl.worker.pauses import Pauses

log = logging.getLogger(__name__)

SHOWN_BYTES = 300
"""Of the output of a hook that failed."""
_ITS_OWN_FAULT = (errno.E2BIG, errno.ENOENT, errno.EACCES, errno.ENOEXEC)
"""Why a hook cannot be started that could not be tomorrow either; all else is trouble of ours."""


class Hooks:
    """The markers of one worker, from the announcement of an event to the end of its hook.

    `changed()` is called, from any thread, when a hook's thread has no more to run, and when a
    dead holder was recovered.
    """

    def __init__(
        self, spool: Spool, worker: str, limit: int, *, changed: Callable[[], None]
    ) -> None:
        self.worker = worker
        self.active = threading.Event()
        """Set by work that was done, for who tells when there is no more of it."""
        self._spool = spool
        self._limit = limit
        self._changed = changed
        self._lock = threading.Lock()
        self._due: deque[str] = deque()
        self._idle_due: str | None = None
        self._running: dict[threading.Thread, StopSwitch] = {}
        self._trouble = Pauses()

    # -- events ----------------------------------------------------------------------------

    def announce(
        self, claim: Claim, record: Job, target: State, settings: Settings, *, again: str | None
    ) -> str | None:
        """Make an outcome that is about to be written durable as an event; None if it is none.

        `again` is what an earlier try has announced, in vain. Raises NotDurable, OSError.
        """
        self.withdraw(again)
        return hook_markers.put_for(self._spool, claim, record, target, settings)

    def announce_reject(self, path: str, reason: str) -> str | None:
        """Make the rejection of a file that is about to be moved durable as an event."""
        return hook_markers.put_for_reject(self._spool, self.worker, path, reason)

    def withdraw(self, name: str | None) -> None:
        """What was announced has not happened. Raises NotDurable, OSError."""
        if name is not None:
            with contextlib.suppress(FileNotFoundError):  # the worker's claims are gone, and it too
                self._spool.disk.remove(self._spool.layout.hook(self.worker, name))

    def happened(self, name: str | None) -> None:
        """What was announced has happened: its hook is due."""
        if name is not None:
            self._add([name])

    def inherit(self, names: list[str]) -> None:
        """A dead holder was recovered: its hooks are due, and that was work."""
        self.active.set()
        self._add(names)
        self._changed()

    def become_idle(self) -> None:
        """Announce that the queue has become idle; a hook that is due says so once for all.

        Raises NotDurable, OSError.
        """
        if self._idle_due is None:
            self._idle_due = hook_markers.put(self._spool, self.worker, Marker(event="idle"))
            self.happened(self._idle_due)

    # -- life ------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a hook is due or runs."""
        return bool(self._running)

    @property
    def left(self) -> int:
        """Count the hooks that are due or run."""
        with self._lock:
            return len(self._due) + len(self._running)

    def stop_now(self) -> None:
        """End the running hooks; they and those that are due are left to recovery."""
        with self._lock:
            self._trouble.given_up.set()
            self._due.clear()
            for control in self._running.values():
                control.stop("interrupted")

    def _add(self, names: list[str]) -> None:
        with self._lock:
            if self._trouble.given_up.is_set():
                return
            self._due.extend(names)
            for _ in range(min(len(names), self._limit - len(self._running))):
                thread = threading.Thread(target=self._work, name="hook")
                self._running[thread] = StopSwitch()
                thread.start()

    def _work(self) -> None:
        """Run what is due until nothing is."""
        me = threading.current_thread()
        control = self._running[me]
        while True:
            with self._lock:
                if not self._due:
                    del self._running[me]
                    break
                name = self._due.popleft()
                if name == self._idle_due:
                    self._idle_due = None
            self._attend(name, control)
        control.close()
        self._changed()

    # -- one hook --------------------------------------------------------------------------

    def _attend(self, name: str, control: StopSwitch) -> None:
        """Run a hook, however long the disk refuses, or until it is left to recovery."""
        me = threading.get_ident()
        while not self._trouble.given_up.is_set():
            try:
                self._perform(name, control)
            except (OSError, QueuectlError) as error:
                self._trouble.pause(me, f"hook {name} cannot be run: {error}")
            except Exception:  # a mistake of ours: the others are run all the same
                log.exception("hook %s is left to the next worker", name)
                return
            else:
                self._trouble.is_over(me)
                return

    def _perform(self, name: str, control: StopSwitch) -> None:
        settings = self._spool.settings.last_good
        try:
            marker = hook_markers.read(self._spool, self.worker, name)
        except FileNotFoundError:
            return
        except msgspec.DecodeError as error:  # only without fsync, or by somebody's hand
            log.error("hook %s cannot be read, and is not run: %s", name, error)
            hook_markers.remove(self._spool, self.worker, name)
            return
        command = hook_markers.hook_for(marker.event, settings)
        if command is not None:
            wrong = self._run(command, marker, name, settings, control)
            if control.reason is not None:
                return
            about = "" if marker.event == "idle" else f" of job {marker.id}"
            if wrong is None:
                log.debug("hook on_%s%s has run", marker.event, about)
            else:
                log.error("hook on_%s%s failed: %s", marker.event, about, wrong)
        hook_markers.remove(self._spool, self.worker, name)

    def _run(
        self, command: str, marker: Marker, name: str, settings: Settings, control: StopSwitch
    ) -> str | None:
        """Run a hook's command to its end; return what went wrong, in one line."""
        environment = self._environment(marker, name)
        output = self._open_output()
        try:
            found = os.fstat(output)
            try:
                hook = self._start(command, environment, output)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno not in _ITS_OWN_FAULT:
                    raise
                return f"cannot be started: {error}"
            mark = environment[survivors.RUN_VARIABLE]
            marks = survivors.Marks(mark, (found.st_dev, found.st_ino), group=hook.pid)
            asked: Outcome | None = "interrupted"
            try:
                asked = wait(hook, settings.hook_timeout, control)
            finally:
                if asked:
                    survivors.end(marks, settings.kill_grace, pause=time.sleep)
                code = hook.reap()
            entry = Attempt(attempt=0, outcome="failed")
            entry = ended(entry, asked, code, settings.hook_timeout)
            return entry.error and f"{entry.error}{_end_of(output)}"
        finally:
            os.close(output)

    def _environment(self, marker: Marker, name: str) -> dict[str, str]:
        spool = self._spool
        told = hook_markers.environment(
            marker,
            root=spool.layout.root,
            place=hook_markers.find(spool, marker),
            log=spool.layout.in_root(marker.log) if marker.log else None,
        )
        return told | {survivors.RUN_VARIABLE: f"{self.worker}.{name}"}

    def _open_output(self) -> int:
        """Open a file that has no name: it goes with the last who holds it, however that ends."""
        path = self._spool.layout.staged()
        fd = create(path, os.O_RDWR | os.O_APPEND | os.O_EXCL, 0o600)
        discard(path)
        return fd

    def _start(self, command: str, told: dict[str, str], output: int) -> Child:
        ours = {os.fsencode(key): os.fsencode(value) for key, value in told.items()}
        stale = {name.encode() for name in VARIABLES}  # of a job that has started this worker
        theirs = {key: value for key, value in os.environb.items() if key not in stale}
        return spawn.start(["/bin/sh", "-c", command], theirs | ours, None, output=output)


def _end_of(output: int) -> str:
    """Return the end of what a command wrote, as the end of a line."""
    with contextlib.suppress(OSError):
        size = os.fstat(output).st_size
        data = os.pread(output, SHOWN_BYTES, max(size - SHOWN_BYTES, 0))
        text = " ".join(data.decode(errors="replace").split())
        return f": {'...' if size > SHOWN_BYTES else ''}{text}" if text else ""
    return ""

"""Waits for changes in the spool, a timeout, a signal, or the death of another worker.

Events are hints: they may be late, lost or about nothing. The directories are the truth: a worker
scans them after it has armed the watch, and again at every rescan.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl import host
from queuectl.process import wakeup
from queuectl.record.running import WorkerInfo

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

_MOMENT = 0.1  # seconds


class Watch:
    """A watch over some directories, with all the other reasons that end a wait.

    `wait` returns the paths of files that have arrived: in the directories `arrivals`, files that
    were created, moved in, or closed after writing; in the directories `creations`, only files
    that were created under their final names.

    Files that leave a directory are not reported. Otherwise a worker would get eight events a
    job for its own renames, which took half of its processor time; and watchdog holds back each
    rename out of a directory, with every event behind it, for 0.5 s, to pair it with a rename
    into another.
    """

    def __init__(self, arrivals: Sequence[str], creations: Sequence[str] = ()) -> None:
        self._arrivals = list(arrivals)
        self._creations = list(creations)
        self._paths: deque[str] = deque()
        self._reader, self._writer = wakeup.make_pipe()
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self._observer: BaseObserver | None = None
        self._watched: list[os.stat_result] = []
        self._workers: dict[str, int] = {}  # a pidfd for each worker that is followed
        self._lock = threading.RLock()  # a signal handler may notify while its thread does
        self._closed = False
        self._warned = False
        self.overflowed = threading.Event()
        """Set when the kernel has dropped events: a change may have been missed."""
        self._listener = _OverflowListener(self.overflowed)
        logging.getLogger("watchdog").addHandler(self._listener)

    def arm(self) -> bool:
        """Start the watch, or restart it if it has broken; return False if that is impossible.

        When a watched directory is removed or replaced, its observer still runs and reports
        nothing. So the directories are compared with those that were watched at the start.
        """
        if self.is_intact():
            return True
        self._disarm()
        from watchdog import events

        class Handler(events.FileSystemEventHandler):
            def on_any_event(_, event: FileSystemEvent) -> None:  # noqa: N805 - self is Watch's
                self.notify(os.fsdecode(event.dest_path or event.src_path))

        created: list[type[FileSystemEvent]] = [events.FileCreatedEvent]
        arrived = [*created, events.FileMovedEvent, events.FileClosedEvent]
        arrived += [events.DirCreatedEvent, events.DirMovedEvent]
        observer = _observer()
        try:
            for directory in self._arrivals:
                observer.schedule(Handler(), directory, event_filter=arrived)
            for directory in self._creations:
                observer.schedule(Handler(), directory, event_filter=created)
            observer.start()
        # No inotify, or no more of its instances or watches; RuntimeError: no thread to be had.
        except (OSError, RuntimeError) as error:
            observer.unschedule_all()
            if not self._warned:
                log.warning("cannot watch the spool (%s): looking every second", error)
            self._warned = True
            return False
        self._warned = False
        self._observer = observer
        self._watched = self._stat()
        return True

    def fileno(self) -> int:
        """Return the descriptor that ends the wait when a byte is written to it."""
        return self._writer

    def notify(self, path: str | None = None) -> None:
        """End the wait, from any thread or signal handler."""
        if path is not None:
            self._paths.append(path)
        with contextlib.suppress(BlockingIOError), self._lock:
            if not self._closed:
                os.write(self._writer, b"!")

    def follow(self, worker: WorkerInfo) -> None:
        """End a wait as soon as this worker's process ends, if its pid means that process here."""
        known = worker.name in self._workers or worker.pid == os.getpid()
        if known or worker.place != host.here() or not hasattr(os, "pidfd_open"):
            return
        with contextlib.suppress(OSError):
            self._workers[worker.name] = os.pidfd_open(worker.pid)
            self._poll.register(self._workers[worker.name], select.POLLIN)

    def wait(self, timeout: float) -> tuple[list[str], bool]:
        """Wait at most `timeout` seconds.

        Returns the paths of the events, and whether a followed worker has ended.
        """
        try:
            ready = {fd for fd, _ in self._poll.poll(max(timeout, 0) * 1000 + 0.5)}
        except OSError:  # the kernel has no memory for it: look in a moment
            ready = {self._reader}
            time.sleep(min(max(timeout, 0), _MOMENT))
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 65536)
        ended = [name for name, fd in self._workers.items() if fd in ready]
        for name in ended:
            self._poll.unregister(self._workers[name])
            os.close(self._workers.pop(name))
        paths: dict[str, None] = {}  # each path once, in the order of the events
        while self._paths:
            paths[self._paths.popleft()] = None
        return list(paths), bool(ended)

    def close(self) -> None:
        """End the watch and close its descriptors."""
        self._disarm()
        logging.getLogger("watchdog").removeHandler(self._listener)
        with self._lock:
            self._closed = True
            for fd in (*self._workers.values(), self._reader, self._writer):
                os.close(fd)

    def is_intact(self) -> bool:
        """Whether the watch is armed, and covers the directories that now have the names."""
        if self._observer is None:
            return False
        emitters = self._observer.emitters
        if not self._observer.is_alive() or not all(e.is_alive() for e in emitters):
            return False
        try:
            return all(map(os.path.samestat, self._stat(), self._watched))
        except OSError:
            return False

    def _stat(self) -> list[os.stat_result]:
        return [os.stat(directory) for directory in (*self._arrivals, *self._creations)]

    def _disarm(self) -> None:
        if self._observer is not None:
            observer, self._observer = self._observer, None
            library = logging.getLogger("watchdog")
            library.propagate = False  # it logs an error for an event while it stops
            try:
                observer.stop()
                observer.join()
            finally:
                library.propagate = True


class _OverflowListener(logging.Handler):
    """Notices dropped events: watchdog reports them only in its log."""

    def __init__(self, overflowed: threading.Event) -> None:
        super().__init__(logging.WARNING)
        self._overflowed = overflowed

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._overflowed.set()


def _observer() -> BaseObserver:
    """Make an observer that, on Linux, does not report what is moved out of a directory."""
    from watchdog.events import FileMovedEvent
    from watchdog.observers import Observer

    if sys.platform != "linux":
        return Observer()
    from watchdog.observers.api import BaseObserver
    from watchdog.observers.inotify import InotifyEmitter
    from watchdog.observers.inotify_c import InotifyConstants, Mask

    class ArrivalEmitter(InotifyEmitter):
        def get_event_mask_from_filter(self) -> Mask:
            mask = super().get_event_mask_from_filter() & ~InotifyConstants.IN_MOVED_FROM
            if FileMovedEvent not in (self._event_filter or ()):
                mask &= ~InotifyConstants.IN_MOVED_TO
            return Mask(mask)

    return BaseObserver(ArrivalEmitter)

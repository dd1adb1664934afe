"""The one place to wait: for what happens in the spool, for time, for signals, for a death.

Events are hints: they may be late, lost or about nothing. Truth is the directory, which is
scanned after the watch is armed and again at every rescan.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl import host
from queuectl.record.running import WorkerInfo

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)


class Watch:
    """A watch over some directories, with everything else that ends a wait.

    `wait` returns the paths at which something has arrived: in the directories `arrivals`, what
    was created, moved in, or closed after writing; in the directories `creations`, only what was
    created under its final name.

    What leaves is not watched. A worker's own renames would otherwise come back to it as eight
    events a job, which cost it half of its processor time; and watchdog holds each rename out
    of a directory back for 0.5 s, hoping for its other half, with everything behind it.
    """

    def __init__(self, arrivals: Sequence[str], creations: Sequence[str] = ()) -> None:
        self._arrivals = list(arrivals)
        self._creations = list(creations)
        self._paths: deque[str] = deque()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self._observer: BaseObserver | None = None
        self._watched: list[os.stat_result] = []
        self._peers: dict[str, int] = {}
        self._lock = threading.RLock()  # a signal handler may notify while its thread does
        self._closed = False
        self._told = False
        self.overflowed = threading.Event()
        """Set when the kernel has dropped events: what is known may be out of date."""
        self._listener = _OverflowListener(self.overflowed)
        logging.getLogger("watchdog").addHandler(self._listener)

    def arm(self) -> bool:
        """Start the watch, or start it anew if it has broken; False if none can be had.

        A watched directory that is removed or replaced leaves an observer that seems alive and
        reports nothing, so the directory is compared with the one that was watched.
        """
        if self._is_whole():
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
        except OSError as error:  # no inotify instance or watch left, or no inotify at all
            observer.unschedule_all()
            if not self._told:
                log.warning("no watch to be had (%s): looking every second", error)
            self._told = True
            return False
        self._told = False
        self._observer = observer
        self._watched = self._stat()
        return True

    def fileno(self) -> int:
        """The descriptor that ends the wait when something is written to it."""
        return self._writer

    def notify(self, path: str | None = None) -> None:
        """End the wait, from any thread or signal handler."""
        if path is not None:
            self._paths.append(path)
        with contextlib.suppress(BlockingIOError), self._lock:
            if not self._closed:
                os.write(self._writer, b"!")

    def follow(self, peer: WorkerInfo) -> None:
        """End a wait as soon as this worker's process dies, if it is one of this host."""
        known = peer.name in self._peers or peer.pid == os.getpid()
        here = (peer.host, peer.boot_id) == (host.hostname(), host.boot_id())
        if known or not here or not hasattr(os, "pidfd_open"):
            return
        with contextlib.suppress(OSError):
            self._peers[peer.name] = os.pidfd_open(peer.pid)
            self._poll.register(self._peers[peer.name], select.POLLIN)

    def wait(self, timeout: float) -> tuple[list[str], bool]:
        """Wait at most `timeout` seconds; return the paths of events, and if a peer has died."""
        ready = {fd for fd, _ in self._poll.poll(max(timeout, 0) * 1000 + 0.5)}
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 65536)
        died = [name for name, fd in self._peers.items() if fd in ready]
        for name in died:
            self._poll.unregister(self._peers[name])
            os.close(self._peers.pop(name))
        paths: dict[str, None] = {}  # each once, in the order of the events
        while self._paths:
            paths[self._paths.popleft()] = None
        return list(paths), bool(died)

    def close(self) -> None:
        """End the watch and free everything."""
        self._disarm()
        logging.getLogger("watchdog").removeHandler(self._listener)
        with self._lock:
            self._closed = True
            for fd in (*self._peers.values(), self._reader, self._writer):
                os.close(fd)

    def _is_whole(self) -> bool:
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
            library.propagate = False  # it complains of events that come while it is stopped
            try:
                observer.stop()
                observer.join()
            finally:
                library.propagate = True


class _OverflowListener(logging.Handler):
    """Hears of dropped events: watchdog tells of them in its log, and nowhere else."""

    def __init__(self, overflowed: threading.Event) -> None:
        super().__init__(logging.WARNING)
        self._overflowed = overflowed

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._overflowed.set()


def _observer() -> BaseObserver:
    """Make an observer that, on Linux, is not told of what is moved out of a directory."""
    from watchdog.events import FileMovedEvent
    from watchdog.observers import Observer

    if not sys.platform.startswith("linux"):
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

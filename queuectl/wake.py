"""The one place to wait: for what happens in the spool, for time, for signals, for a death.

Events are hints: they may be late, lost or about nothing. Truth is the directory, which is
scanned after the watch is armed and again at every rescan.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

from queuectl import process
from queuectl.job import WorkerInfo

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)


class Wake:
    """A watch over directory trees, with everything else that ends a wait.

    `wait` returns the paths at which something was created, moved away, moved in, or closed
    after writing.
    One recursive watch covers the tree: with a watch on `pending/` alone, watchdog holds each
    rename out of it back for 0.5 s, hoping for the other half, and everything behind it too.
    """

    def __init__(self, *directories: str) -> None:
        self._directories = directories
        self._paths: deque[str] = deque()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self._observer: BaseObserver | None = None
        self._watched: list[os.stat_result] = []
        self._peers: dict[str, int] = {}
        self._lock = threading.Lock()

    def arm(self) -> bool:
        """Start the watch, or start it anew if it has broken; False if none can be had.

        A watched directory that is removed or replaced leaves an observer that seems alive and
        reports nothing, so the directory is compared with the one that was watched.
        """
        if self._is_whole():
            return True
        self._disarm()
        from watchdog import events
        from watchdog.observers import Observer

        class Handler(events.FileSystemEventHandler):
            def on_any_event(_, event: FileSystemEvent) -> None:  # noqa: N805 - self is Wake's
                for path in (event.src_path, event.dest_path):
                    if path:
                        self.notify(os.fsdecode(path))

        observer = Observer()
        try:
            for directory in self._directories:
                observer.schedule(
                    Handler(),
                    directory,
                    recursive=True,
                    event_filter=[
                        events.FileCreatedEvent,
                        events.FileMovedEvent,
                        events.FileClosedEvent,
                        events.DirCreatedEvent,
                        events.DirMovedEvent,
                    ],
                )
            observer.start()
        except OSError as error:  # no inotify instance or watch left, or no inotify at all
            log.warning("no watch to be had (%s): looking every second", error)
            return False
        self._observer = observer
        self._watched = [os.stat(directory) for directory in self._directories]
        return True

    def notify(self, path: str | None = None) -> None:
        """End the wait, from any thread or signal handler."""
        if path is not None:
            self._paths.append(path)
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._writer, b"!")

    def follow(self, peer: WorkerInfo) -> None:
        """End a wait as soon as this worker's process dies, if it is one of this host."""
        known = peer.name in self._peers or peer.pid == os.getpid()
        here = (peer.host, peer.boot_id) == (process.hostname(), process.boot_id())
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
        for fd in (*self._peers.values(), self._reader, self._writer):
            os.close(fd)

    def _is_whole(self) -> bool:
        if self._observer is None:
            return False
        emitters = self._observer.emitters
        if not self._observer.is_alive() or not all(e.is_alive() for e in emitters):
            return False
        try:
            now = [os.stat(directory) for directory in self._directories]
            return all(map(os.path.samestat, now, self._watched))
        except OSError:
            return False

    def _disarm(self) -> None:
        if self._observer is not None:
            observer, self._observer = self._observer, None
            observer.stop()
            observer.join()

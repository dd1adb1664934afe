"""One watch for all who look: what the spool's events come to, a few times a second.

A thread waits on the same watch as a worker does, counts, and wakes every open page. Between
two looks there is no watch at all: after the first event it is given up for a pause, then armed
again, and the directories are looked at after that. So nothing is missed, and a drain that
makes 10,000 events a second costs no more than one that makes ten. With no page open there is
neither thread work nor watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator

from msgspec import Struct

from queuectl import clock
from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.record.job import State
from queuectl.spool.watch import Watch
from queuectl.view.pages import Browser
from queuectl.web.chores import Chores
from queuectl.web.timeline import Timeline

log = logging.getLogger(__name__)

LEAST_PAUSE = 0.3
"""Seconds from one push to the next: at most three a second."""
_RELATIVE_PAUSE = 3
"""A look that takes long, at many jobs, is followed by a pause of so many times its length."""
RESCAN_SECONDS = 30.0
"""How often a watched spool is looked at without an event: a network file system has none."""
UNWATCHED_SECONDS = 1.0
MOST_READ = 5000
"""Records that are read for the chart in one look: 0.15 s of work."""


class Snapshot(Struct, frozen=True):
    """The queue in numbers, as it is pushed."""

    version: int
    counts: dict[State, int]
    workers: int
    slots: int
    busy: int
    chore: str
    trouble: str


_NOTHING = Snapshot(0, {}, 0, 0, 0, "", "")


class Ear:
    """One open page: woken, in its event loop, whenever there is something new."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._new = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait for news, at most so long; whether there are any."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._new.wait(), seconds)
        there_are = self._new.is_set()
        self._new.clear()
        return there_are

    def wake(self) -> None:
        """Tell of news, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._new.set)


class Hub:
    """Looks at the spool when it changes, and tells all who listen."""

    def __init__(self, queue: Queue, browser: Browser, timeline: Timeline, chores: Chores) -> None:
        self.closed = False
        self.snapshot = _NOTHING
        self._queue = queue
        self._browser = browser
        self._timeline = timeline
        self._chores = chores
        self._ears: set[Ear] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._pause = threading.Event()
        self._wake: Watch | None = None
        self._stirred = True
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        chores.tell = self.notify

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End all waiting, the open pages' too. May be called from a signal handler."""
        self.closed = True
        self._pause.set()
        self._wanted.set()
        self.notify()
        for ear in list(self._ears):
            ear.wake()

    @contextlib.contextmanager
    def listen(self) -> Iterator[Ear]:
        """Be one of those who are told."""
        ear = Ear()
        self._ears.add(ear)
        self._wanted.set()
        try:
            yield ear
        finally:
            self._ears.discard(ear)
            if not self._ears and not self.closed:
                self._wanted.clear()
                self.notify()  # nobody looks: give the watch up now

    def notify(self) -> None:
        """Look again soon: a chore has got on."""
        with self._lock:
            if self._wake is not None:
                self._wake.notify()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.closed:
            self._wanted.wait()
            if not self.closed:
                self._pause.wait(self._round())

    def _round(self) -> float:
        """Watch, look, tell, and wait for the next event; return how long to pause after it."""
        started = clock.monotonic()
        with self._watch() as wake:
            try:
                patience = RESCAN_SECONDS if wake.arm() else UNWATCHED_SECONDS
                if self._look(wake):
                    patience = 0
            except (OSError, QueuectlError) as error:
                patience = UNWATCHED_SECONDS
                self._publish(trouble=str(error))
            took = clock.monotonic() - started
            if not self.closed:
                paths, died = wake.wait(patience)
                self._stirred = bool(paths) or died
        return max(LEAST_PAUSE, took * _RELATIVE_PAUSE)

    @contextlib.contextmanager
    def _watch(self) -> Iterator[Watch]:
        wake = Watch(self._directories())
        with self._lock:
            self._wake = wake
        try:
            yield wake
        finally:
            with self._lock:
                self._wake = None
            wake.close()

    def _directories(self) -> list[str]:
        """Everything that changes a page arrives in one of these; what is purged, in `tmp/`."""
        spool = self._queue.spool
        paths = spool.layout
        # Of workers alone: who retries or cancels a job holds it for a moment, in a directory that
        # may be gone before it is watched.
        workers = {info.name for info in spool.reader.workers()}
        claims = [paths.claims(name) for name in spool.reader.claimants() if name in workers]
        return [paths.root, *paths.states.values(), paths.tmp, paths.workers, *claims]

    def _look(self, wake: Watch) -> bool:
        """Count and tell; whether to look again soon, for more than this look could read."""
        counts = self._browser.counts()
        for info in self._queue.spool.reader.workers():
            wake.follow(info)
        more = self._timeline.note(self._browser.arrivals(), MOST_READ)
        alive = [worker for worker in self._queue.workers() if worker.alive]
        self._publish(
            counts=counts,
            workers=len(alive),
            slots=sum(worker.slots for worker in alive),
            busy=sum(len(worker.running) for worker in alive),
            chore=self._chores.words(),
        )
        return more or not self._browser.is_fresh

    def _publish(self, **news: object) -> None:
        known = {name: getattr(self.snapshot, name) for name in Snapshot.__struct_fields__}
        told = {**known, "trouble": "", **news}
        if told == known and not self._stirred:
            return
        self.snapshot = Snapshot(**{**told, "version": self.snapshot.version + 1})
        for ear in list(self._ears):
            ear.wake()

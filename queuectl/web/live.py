"""Live updates: open pages learn of changes to the queue, at most about three times a second.

A thread waits on a file watch, counts the jobs and wakes every open page. After the first event it
closes the watch and pauses. Then it arms a new watch first and looks at the directories after that,
so no change is missed; and a drain that makes 10,000 events a second costs no more than one that
makes ten. While no page is open, the thread sleeps and there is no watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from queuectl import clock
from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.record.job import State
from queuectl.view.pages import Browser
from queuectl.web.background import TaskRunner
from queuectl.web.rendering import error_message
from queuectl.web.timeline import Timeline

if TYPE_CHECKING:
    from queuectl.queue import Watch

log = logging.getLogger(__name__)

MIN_PAUSE = 0.3
"""Seconds from one update to the next."""
_PAUSE_PER_LOOK = 3
"""With many jobs a look takes long; the pause after it is this many times as long."""
RESCAN_SECONDS = 30.0
"""How often to look without an event: a network file system reports no changes by other hosts."""
CHECK_SECONDS = 2.0
"""How often to look whether the spool is still there: no event tells that it was moved away."""
UNWATCHED_SECONDS = 1.0
"""How often to look if there can be no watch."""
MAX_RECORDS = 5000
"""Records to read for the chart in one look: 0.15 s of work."""


class Snapshot(Struct, frozen=True):
    """The numbers of the queue, as they are sent to the pages."""

    version: int
    counts: dict[State, int]
    workers: int
    slots: int
    busy: int
    task: str
    problem: str


_EMPTY = Snapshot(0, {}, 0, 0, 0, "", "")


class Subscriber:
    """One open page. It is woken, in its event loop, whenever there is something new."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait at most this many seconds for news; return whether there is any."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        is_new = self._news.is_set()
        self._news.clear()
        return is_new

    def wake(self) -> None:
        """End the wait, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._news.set)


class LiveUpdates:
    """Looks at the queue when it changes, and wakes all subscribers."""

    def __init__(
        self, queue: Queue, browser: Browser, timeline: Timeline, tasks: TaskRunner
    ) -> None:
        self.closed = False
        self.snapshot = _EMPTY
        self._queue = queue
        self._browser = browser
        self._timeline = timeline
        self._tasks = tasks
        self._subscribers: set[Subscriber] = set()
        self._subscribed = threading.Event()
        self._ending = threading.Event()
        self._end_wait: Callable[[], None] = _nothing
        self._changed = True
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        tasks.on_progress = self.look_soon

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End all waits, those of the open pages too. A signal handler may call this."""
        self.closed = True
        self._ending.set()
        self._subscribed.set()
        self.look_soon()
        self._wake_subscribers()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscriber]:
        """Make a subscriber, which gets updates until the end of the block."""
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        self._subscribed.set()
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers and not self.closed:
                self._subscribed.clear()
                self.look_soon()  # closes the watch, because no page is open

    def look_soon(self) -> None:
        """Look at the queue again, from any thread: a background task has made progress."""
        self._end_wait()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.closed:
            self._subscribed.wait()
            if not self.closed:
                self._ending.wait(self._round())

    def _round(self) -> float:
        """Arm a watch, look, publish, and wait for an event; return how long to pause after it."""
        started = clock.monotonic()
        try:
            if self.snapshot.problem:
                self._browser.counts()  # while the spool is gone there is nothing to watch
            with contextlib.closing(self._queue.watch(everything=True)) as watch:
                self._end_wait = watch.notify
                patience = RESCAN_SECONDS if watch.arm() else UNWATCHED_SECONDS
                self._queue.follow_workers(watch)
                if self._look():
                    patience = 0
                took = clock.monotonic() - started
                if not self.closed:
                    self._changed = _has_event(watch, patience)
            return max(MIN_PAUSE, took * _PAUSE_PER_LOOK)
        except Exception as error:  # without this thread the pages would go on to say "Live"
            if not isinstance(error, (OSError, QueuectlError)):
                log.error("live updates: %s: %s", type(error).__name__, error)
            self._publish(problem=self._problem(error))
            self._changed = False
            return UNWATCHED_SECONDS
        finally:
            self._end_wait = _nothing

    def _problem(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError) and not os.path.isdir(self._queue.path):
            return f"{self._queue.path} is gone: moved or removed"
        return error_message(error) or type(error).__name__

    def _look(self) -> bool:
        """Count and publish; return whether this look was too short to read everything."""
        counts = self._browser.counts()
        more = self._timeline.note(self._browser.arrivals(), MAX_RECORDS, self._browser.left_out)
        running = [worker for worker in self._queue.workers() if worker.alive]
        self._publish(
            counts=counts,
            workers=len(running),
            slots=sum(worker.slots for worker in running),
            busy=sum(len(worker.running) for worker in running),
            task=self._tasks.message(),
        )
        return more or not self._browser.is_fresh

    def _publish(self, **news: object) -> None:
        known = {name: getattr(self.snapshot, name) for name in Snapshot.__struct_fields__}
        updated = {**known, "problem": "", **news}
        if updated == known and not self._changed:
            return
        self.snapshot = Snapshot(**{**updated, "version": self.snapshot.version + 1})
        self._wake_subscribers()

    def _wake_subscribers(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.wake()


def _has_event(watch: Watch, patience: float) -> bool:
    """Wait for an event; return whether there is one.

    The wait also ends after `patience` seconds, at a call of the watch's `notify`, and when the
    directories are not those any more that the watch covers.
    """
    deadline = clock.monotonic() + patience
    while True:
        check = min(deadline, clock.monotonic() + CHECK_SECONDS)
        paths, died = watch.wait(check - clock.monotonic())
        if paths or died:
            return True
        is_notified = clock.monotonic() < check
        if is_notified or check == deadline or not watch.is_intact():
            return False


def _nothing() -> None:
    """Do nothing: while there is no watch, there is no wait to end."""

"""What `queuectl top` shows, and what each key changes in it; independent of the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from queuectl import clock
from queuectl.cli.top.joblist import JobList
from queuectl.cli.top.log import Log
from queuectl.cli.top.throughput import BUCKET_SECONDS, Throughput
from queuectl.errors import QueuectlError, SpoolUnusable
from queuectl.queue import LISTING_ORDER, Queue
from queuectl.record.job import State
from queuectl.view.status import WorkerStatus

Mode = Literal["list", "filter", "confirm", "log", "help"]

BUCKETS_IN_DOCUMENT = 60
BUCKETS_KEPT = 600
_ENDED: tuple[State, ...] = ("completed", "failed", "dead")


class View:
    """All that is on the screen; `height` is the number of its lines."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.mode: Mode = "list"
        self.height = 24
        self.message = ""
        self.paused = False
        self.over = False
        self.counts: dict[State, int] = {}
        self.workers: list[WorkerStatus] = []
        self.throughput = Throughput()
        self.log: Log | None = None
        self.asked = ""
        """The id of the job that may be cancelled."""
        self._opened = False
        self._browser = queue.browser()
        self.jobs = JobList(self._browser)

    # -- look ------------------------------------------------------------------------------

    def load(self) -> None:
        """Look at the spool. Raises SpoolUnusable if it is gone; other errors are shown."""
        try:
            self.counts = self._browser.counts()
            self.workers = self.queue.workers()
            for entry in self._browser.arrivals():
                if entry.state in _ENDED:
                    self.throughput.add(entry.changed / 1e9)
            self.throughput.forget_all_but(BUCKETS_KEPT)
            if not self._opened:  # on a list that has something
                full = (state for state in LISTING_ORDER if self.counts[state])
                self.jobs.state = next(full, self.jobs.state)
                self._opened = True
            self.jobs.load()
            if self.log is not None:
                self.log.load(self.queue)
        except OSError as error:
            root = self.queue.path
            if not os.path.isdir(root):
                raise SpoolUnusable(f"{root} is gone: it was moved or removed") from None
            self.message = f"{error.filename or root}: {error.strerror or error}"

    def document(self) -> dict[str, Any]:
        """Look, and return what is shown, with the first jobs of each list.

        Raises QueuectlError.
        """
        self.load()
        if self.message:
            raise QueuectlError(self.message)
        lists = {}
        for state in LISTING_ORDER:
            self.jobs.show(state)
            lists[state] = [status.to_json() for status in self.jobs.page.jobs]
        return {
            "spool": self.queue.path,
            "seen_at": clock.format_timestamp(clock.now()),
            "jobs": self.counts,
            "throughput": {
                "per_second": self.throughput.per_second(),
                "bucket_seconds": BUCKET_SECONDS,
                "ended": self.throughput.last(BUCKETS_IN_DOCUMENT),
            },
            "workers": self.workers,
            "lists": lists,
        }

    # -- keys ------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Do what a key asks for."""
        self.message = ""
        handlers: dict[Mode, Callable[[str], None]] = {
            "list": self._press_in_list,
            "filter": self._press_in_filter,
            "confirm": self._press_in_confirm,
            "log": self._press_in_log,
            "help": lambda _: self._go("list"),
        }
        handlers[self.mode](key)

    def _go(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "list":
            self.log = None

    def _press_in_list(self, key: str) -> None:
        match key:
            case "q":
                self.over = True
            case "/" | "?":
                self._go("filter" if key == "/" else "help")
            case "esc" if self.jobs.search:
                self.jobs.filter("")
            case "p":
                self.paused = not self.paused
            case "r" | "c" | "l" | "enter" if not self.jobs.selected:
                self.message = "no job is selected"
            case "r":
                self._act(self._retry)
            case "c":
                self.asked = self.jobs.selected
                self._go("confirm")
            case "l" | "enter":
                self._act(self._open_log)
            case _:
                self.jobs.press(key)

    def _press_in_filter(self, key: str) -> None:
        text = self.jobs.search
        match key:
            case "enter":
                self._go("list")
            case "esc":
                self._go("list")
                self.jobs.filter("")
            case "backspace":
                self.jobs.filter(text[:-1])
            case _ if len(key) == 1:
                self.jobs.filter(text + key)

    def _press_in_confirm(self, key: str) -> None:
        self._go("list")
        if key in ("y", "Y"):
            self._act(self._cancel)

    def _press_in_log(self, key: str) -> None:
        if self.log is None or key in ("q", "esc", "l", "enter"):
            self._go("list")
        else:
            self.log.press(key, self.height)

    # -- act on a job: always by its exact id ----------------------------------------------

    def _act(self, action: Callable[[], str]) -> None:
        """Act on a job, and show the outcome."""
        try:
            self.message = action()
            self.load()
        except SpoolUnusable:
            raise
        except QueuectlError as error:
            self.message = str(error)
        except OSError as error:
            self.message = f"{error.filename or self.queue.path}: {error.strerror or error}"

    def _retry(self) -> str:
        return f"{self.queue.retry(self.jobs.selected, exact=True)} is pending again"

    def _cancel(self) -> str:
        state = self.queue.cancel(self.asked, exact=True)
        return f"{self.asked} {'cancelled' if state == 'dead' else 'is being killed by its worker'}"

    def _open_log(self) -> str:
        job_id = self.jobs.selected
        self.log = Log(job_id, self.queue.log_path(job_id, exact=True))
        self._go("log")
        return ""

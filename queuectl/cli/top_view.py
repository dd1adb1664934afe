"""What `queuectl top` shows and how keys change it; nothing here knows a terminal."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from queuectl import clock
from queuectl.errors import QueuectlError, SpoolUnusable
from queuectl.queue import LISTING_ORDER, Queue
from queuectl.record.job import State
from queuectl.spool.places import FINISHED
from queuectl.view import output
from queuectl.view.pages import Browser, Page, Query
from queuectl.view.status import WorkerStatus
from queuectl.view.text import printable

Mode = Literal["list", "filter", "confirm", "log", "help"]

BUCKET_SECONDS = 2
RATE_SECONDS = 10
TOLD_BUCKETS = 60
MOST_LOG_BYTES = 256 * 1024
OLDEST_FIRST: tuple[State, ...] = ("processing", "pending", "failed")
_ENDED: tuple[State, ...] = ("completed", "failed", "dead")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Throughput:
    """How many attempts have ended, by the times of the files they left."""

    def __init__(self) -> None:
        self._ended: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count an attempt that ended then."""
        self._ended[int(seconds) // BUCKET_SECONDS] += 1

    def last(self, count: int) -> list[int]:
        """Return the numbers of the last so many buckets, the current one last."""
        end = int(clock.now()) // BUCKET_SECONDS
        return [self._ended[number] for number in range(end - count + 1, end + 1)]

    def per_second(self) -> float:
        """Return the rate of the last seconds; the current bucket is not over yet."""
        full = self.last(RATE_SECONDS // BUCKET_SECONDS + 1)[:-1]
        return sum(full) / RATE_SECONDS

    def forget_all_but(self, count: int) -> None:
        """Forget the buckets before the last so many."""
        first = int(clock.now()) // BUCKET_SECONDS - count
        for number in [number for number in self._ended if number < first]:
            del self._ended[number]


class Log(Struct):
    """A job's output as it is followed: its last lines, `back` of them below the screen."""

    id: str
    path: str
    lines: list[str] = []
    back: int = 0
    version: tuple[int, int] | None = None


class View:
    """All that is shown, and what each key does to it.

    `rows` is how many jobs the screen has room for, `height` how many lines it has.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.mode: Mode = "list"
        self.state: State = "processing"
        self.search = ""
        self.row = 0
        self.rows = 10
        self.height = 24
        self.message = ""
        self.paused = False
        self.over = False
        self.counts: dict[State, int] = {}
        self.workers: list[WorkerStatus] = []
        self.page = Page([], 0, 1, 1)
        self.throughput = Throughput()
        self.log: Log | None = None
        self.asked = ""
        self._browser = Browser(queue.spool.reader)
        self._selected = ""

    # -- look ------------------------------------------------------------------------------

    def load(self) -> None:
        """Look at the spool. Raises SpoolUnusable if it is gone; other trouble is shown."""
        try:
            self.counts = self._browser.counts()
            self.workers = self.queue.workers()
            for entry in self._browser.arrivals():
                if entry.state in _ENDED:
                    self.throughput.add(entry.changed / 1e9)
            self.throughput.forget_all_but(600)
            self.turn_to(self.page.number)
            if self.log is not None:
                self._load_log(self.log)
        except OSError as error:
            paths = self.queue.spool.layout
            if not os.path.isdir(paths.states["pending"]):
                raise SpoolUnusable(f"{paths.root} is gone: moved or removed") from None
            self.message = f"{error.filename or paths.root}: {error.strerror or error}"

    def turn_to(self, number: int) -> None:
        """Show a page of the list. The selected job stays selected while it is on it."""
        self.page = self._browser.page(
            Query(
                state=self.state,
                search=self.search,
                descending=self.state not in OLDEST_FIRST,
                page=number,
                size=max(self.rows, 1),
            )
        )
        ids = [status.id for status in self.page.jobs]
        if self._selected in ids:
            self.row = ids.index(self._selected)
        self.row = max(min(self.row, len(ids) - 1), 0)
        self._selected = ids[self.row] if ids else ""

    def _load_log(self, log: Log) -> None:
        with contextlib.suppress(QueuectlError):  # purged meanwhile: what was read stays
            log.path = self.queue.log_path(log.id)
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(log.path)
            version = found.st_ino, found.st_size
            if version != log.version:
                start = max(found.st_size - MOST_LOG_BYTES, 0)
                data = b"".join(output.read(log.path, start))
                log.lines, log.version = log_lines(data), version

    def document(self) -> dict[str, Any]:
        """Look, and return what is shown, of every list its first jobs. Raises QueuectlError."""
        self.load()
        if self.message:
            raise QueuectlError(self.message)
        lists = {}
        for state in LISTING_ORDER:
            self.state = state
            self.turn_to(1)
            lists[state] = [status.to_json() for status in self.page.jobs]
        return {
            "spool": self.queue.path,
            "seen_at": clock.format_timestamp(clock.now()),
            "jobs": self.counts,
            "throughput": {
                "per_second": self.throughput.per_second(),
                "bucket_seconds": BUCKET_SECONDS,
                "ended": self.throughput.last(TOLD_BUCKETS),
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
        last = len(self.page.jobs) - 1
        match key:
            case "q":
                self.over = True
            case "down" | "j" if self.row < last:
                self._select(self.row + 1)
            case "down" | "j" | "pgdn" if self.page.number < self.page.pages:
                self._leaf(self.page.number + 1, 0)
            case "up" | "k" if self.row > 0:
                self._select(self.row - 1)
            case "up" | "k" if self.page.number > 1:
                self._leaf(self.page.number - 1, self.rows)
            case "pgup" if self.page.number > 1:
                self._leaf(self.page.number - 1, 0)
            case "home" | "g" | "pgup":
                self._leaf(1, 0)
            case "end" | "G" | "pgdn":
                self._leaf(self.page.pages, self.rows)
            case "tab" | "backtab":
                step = 1 if key == "tab" else -1
                at = LISTING_ORDER.index(self.state) + step
                self.state = LISTING_ORDER[at % len(LISTING_ORDER)]
                self._leaf(1, 0)
            case "/" | "?":
                self._go("filter" if key == "/" else "help")
            case "esc" if self.search:
                self.search = ""
                self._leaf(1, 0)
            case "p":
                self.paused = not self.paused
            case "r" | "c" | "l" if not self._selected:
                self.message = "no job is selected"
            case "r":
                self._change(self._retry)
            case "c":
                self.asked = self._selected
                self._go("confirm")
            case "l" | "enter":
                self._change(self._open_log)

    def _press_in_filter(self, key: str) -> None:
        if key in ("enter", "esc"):
            self._go("list")
            if key == "enter":
                return
        if key == "esc":
            self.search = ""
        elif key == "backspace":
            self.search = self.search[:-1]
        elif len(key) == 1:
            self.search += key
        else:
            return
        self._leaf(1, 0)

    def _press_in_confirm(self, key: str) -> None:
        self._go("list")
        if key in ("y", "Y"):
            self._change(self._cancel)

    def _press_in_log(self, key: str) -> None:
        log = self.log
        if log is None or key in ("q", "esc", "l", "enter"):
            self._go("list")
            return
        far = max(self.height - 2, 1)
        steps = {"up": 1, "k": 1, "down": -1, "j": -1, "pgup": far, "pgdn": -far}
        if key in ("home", "g"):
            log.back = len(log.lines)
        elif key in ("end", "G"):
            log.back = 0
        else:
            log.back = max(log.back + steps.get(key, 0), 0)
        log.back = min(log.back, max(len(log.lines) - 1, 0))

    def _select(self, row: int) -> None:
        self.row = row
        self._selected = self.page.jobs[row].id

    def _leaf(self, number: int, row: int) -> None:
        self._selected, self.row = "", row
        self.turn_to(number)

    def _change(self, change: Callable[[], str]) -> None:
        """Do something to a job, and say what came of it."""
        try:
            self.message = change()
            self.load()
        except SpoolUnusable:
            raise
        except QueuectlError as error:
            self.message = str(error)
        except OSError as error:
            self.message = f"{error.filename or self.queue.path}: {error.strerror or error}"

    def _retry(self) -> str:
        job_id = self.queue.spool.reader.find_exactly(self._selected).id  # not one that begins so
        return f"{self.queue.retry(job_id)} waits again"

    def _cancel(self) -> str:
        self.queue.spool.reader.find_exactly(self.asked)
        ended = self.queue.cancel(self.asked) in FINISHED
        return f"{self.asked} {'cancelled' if ended else 'is being ended by its worker'}"

    def _open_log(self) -> str:
        job_id = self.queue.spool.reader.find_exactly(self._selected).id
        self.log = Log(job_id, self.queue.log_path(job_id))
        self._go("log")
        return ""


def log_lines(data: bytes) -> list[str]:
    """Make output fit to be shown: no colours, only the last state of a line that was redrawn,
    and what a terminal would obey spelled out.
    """
    text = _COLOURS.sub("", data.decode(errors="replace"))
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [printable(line.rstrip("\r").rsplit("\r", 1)[-1].expandtabs()) for line in lines]

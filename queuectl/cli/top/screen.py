"""The screen of `queuectl top`: each part of the view as lines that fit the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from rich.cells import chop_cells
from rich.console import Group, RenderableType
from rich.text import Text

from queuectl import clock
from queuectl.cli.top.log import Log
from queuectl.cli.top.throughput import BUCKET_SECONDS
from queuectl.cli.top.view import View
from queuectl.queue import LISTING_ORDER
from queuectl.record.job import State
from queuectl.view.status import JobStatus, WorkerStatus
from queuectl.view.text import ago, between, cells, command_of, cut, printable, until

STYLES: dict[str, str] = {
    "processing": "cyan", "pending": "bold", "failed": "yellow", "dead": "red",
    "completed": "green",
}  # fmt: skip
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
NARROW = 64
"""In a terminal with fewer columns, the lists show less of each job."""
TINY = 30
"""In a terminal with fewer columns, the title line shows no clock."""
SHORT = 12
"""In a terminal with fewer lines, workers and throughput are left out."""
MAX_BUCKETS = 60
_EMPTY: dict[State, str] = {
    "processing": "nothing is running",
    "pending": "no job is waiting",
    "failed": "no job is waiting for a retry",
    "dead": "no job is dead",
    "completed": "no job is completed",
}
_KEYS = (
    "↑↓ move  tab list  l log  r retry  c cancel  / filter  p pause  ? help  q quit",
    "tab list  l log  r retry  c cancel  ? help  q quit",
    "l log  r retry  c cancel  ? help",
    "? help  q quit",
)
"""The keys in the last line: the first of these texts that fits, or the last one."""
HELP = (
    ("up, down, j, k", "select the job above or below", "move"),
    ("pgup, pgdn, g, G", "page up or down, first job, last job", "page, first, last"),
    ("tab, shift-tab", "show the next or previous list", "next list, previous"),
    ("l, enter", "follow the job's output; q goes back", "output; q: back"),
    ("r", "run a dead job again, or a failed job now", "run it again, or now"),
    ("c", "cancel the job, after a question", "cancel it"),
    ("/", "show only jobs with a text in id or command; esc: all", "filter; esc: all"),
    ("p", "pause the screen; p again continues", "pause"),
    ("q, ctrl-c", "quit", "quit"),
)
"""Each key with its meaning, for a terminal of 80 columns, and for one of 40."""


class Column(NamedTuple):
    """A column of a list. A column of `width` 0 gets the room that the others leave."""

    title: str
    width: int
    cell: Callable[[JobStatus], str]
    narrow: bool = True


# -- the lists -------------------------------------------------------------------------------


def _command(status: JobStatus) -> str:
    return command_of(status.job) if status.job else (status.problem or "-")


def _priority(status: JobStatus) -> str:
    return str(status.job.priority or "-") if status.job else "-"


def _attempts(status: JobStatus) -> str:
    return str(status.tries) if status.job else "-"


def _due(status: JobStatus) -> str:
    if status.job is None:
        return "-"
    left = until(status.job.run_at) if status.job.run_at else "now"
    return left if left == "now" else f"in {left}"


def _waited(status: JobStatus) -> str:
    return ago(status.job.updated_at or status.job.created_at) if status.job else "-"


def _ended(status: JobStatus) -> str:
    return ago(status.ended_at)


def _took(status: JobStatus) -> str:
    last = status.job.last_attempt if status.job else None
    return between(last.started_at, last.finished_at) if last else "-"


def _reason(status: JobStatus) -> str:
    return status.reason or "-"


def _slot(status: JobStatus) -> str:
    return f"{status.worker or '-'} {status.slot or '-'}"


_ID = Column("ID", 14, lambda status: status.id)
_COMMAND = Column("COMMAND", 0, _command)
COLUMNS: dict[State, tuple[Column, ...]] = {
    "processing": (
        _ID,
        Column("FOR", 7, lambda status: ago(status.started_at)),
        Column("ATTEMPT", 7, lambda status: str(status.attempt or "-"), False),
        Column("WORKER SLOT", 20, _slot, False),
        _COMMAND,
    ),
    "pending": (
        _ID,
        Column("DUE", 9, _due),
        Column("WAITED", 7, _waited, False),
        Column("PRIORITY", 8, _priority, False),
        _COMMAND,
    ),
    "failed": (
        _ID,
        Column("RETRY", 9, _due),
        Column("ATTEMPTS", 8, _attempts, False),
        Column("REASON", 0, _reason),
        _COMMAND._replace(narrow=False),
    ),
    "dead": (
        _ID,
        Column("DIED AGO", 8, _ended),
        Column("ATTEMPTS", 8, _attempts, False),
        Column("REASON", 0, _reason),
        _COMMAND._replace(narrow=False),
    ),
    "completed": (
        _ID,
        Column("ENDED AGO", 9, _ended),
        Column("TOOK", 7, _took),
        _COMMAND,
    ),
}


def fit(text: str, width: int) -> str:
    """Cut or pad text to exactly `width` cells, with control characters escaped."""
    text = cut(printable(text), width)
    return text + " " * (width - cells(text))


def _row(columns: list[tuple[Column, int]], cells: list[str], width: int) -> str:
    parts = [fit(cell, room) for (_, room), cell in zip(columns, cells, strict=True)]
    return fit("  ".join(parts), width)


def _widths(state: State, width: int) -> list[tuple[Column, int]]:
    """Choose the columns, and divide the room that those of a fixed width leave."""
    columns = [c for c in COLUMNS[state] if width >= NARROW or c.narrow]
    flexible = sum(not column.width for column in columns)
    left = width - 2 - sum(column.width for column in columns) - 2 * (len(columns) - 1)
    share = max(left // max(flexible, 1), 0)
    return [(column, column.width or share) for column in columns]


def _list(view: View, width: int) -> Iterator[Text]:
    columns = _widths(view.jobs.state, width)
    titles = [column.title for column, _ in columns]
    yield Text("  " + _row(columns, titles, width - 2), "bold")
    for number, status in enumerate(view.jobs.page.jobs):
        chosen = number == view.jobs.row
        line = _row(columns, [column.cell(status) for column, _ in columns], width - 2)
        yield Text(("> " if chosen else "  ") + line, "reverse" if chosen else "")
    if not view.jobs.page.jobs:
        yield Text(f"  {_EMPTY[view.jobs.state]}"[:width], "dim")


# -- above and below the list ----------------------------------------------------------------


def sparkline(counts: list[int], bars: str) -> str:
    """Draw numbers as bars, the largest as the highest. Every number above 0 is visible."""
    most = max(counts, default=0) or 1
    levels = [-(-count * (len(bars) - 1) // most) for count in counts]
    return "".join(bars[level] for level in levels)


def _title(view: View, width: int) -> Text:
    now = datetime.fromtimestamp(clock.now()).strftime("%H:%M:%S") if width >= TINY else ""
    right = f" {'PAUSED  ' if view.paused else ''}{now} "
    return Text(fit(f" queuectl top  {view.queue.path}", width - len(right)) + right, "reverse")


def _throughput(view: View, width: int, bars: str) -> Text:
    rate = f" {view.throughput.per_second():.1f}/s"
    count = max(min(width - len(" ended   the last 2m00s") - len(rate), MAX_BUCKETS), 1)
    line = sparkline(view.throughput.last(count), bars)
    span = clock.format_duration(count * BUCKET_SECONDS)
    return Text(fit(f" ended {line}{rate}  the last {span}", width))


def _workers(workers: list[WorkerStatus], width: int, most: int) -> Iterator[Text]:
    if not any(worker.alive for worker in workers):
        yield Text(fit(" no worker is running: queuectl worker start", width), "red")
    shown = workers if len(workers) <= most else workers[: most - 1]
    for worker in shown:
        busy = len(worker.running)
        state = f"up {ago(worker.started_at)}" if worker.alive else "died"
        state = "leaving" if worker.leaving else state
        gauge = "" if worker.slots > 16 else "#" * busy + "." * (worker.slots - busy) + " "
        words = f" {gauge}{busy}/{worker.slots} busy  {worker.name}  {state}"
        yield Text(fit(words, width), "" if worker.alive else "red")
    if len(shown) < len(workers):
        rest = workers[len(shown) :]
        busy, slots = sum(len(w.running) for w in rest), sum(w.slots for w in rest)
        yield Text(fit(f" {busy}/{slots} busy  {len(rest)} more workers", width), "dim")


def compact(count: int) -> str:
    """Format a number in at most four characters: 999, 1.2k, 86k, 1.0M."""
    if count < 1000:
        return str(count)
    for unit in "kM":
        tenths, count = count // 100, count // 1000
        if count < 1000:
            return f"{tenths / 10:.1f}{unit}" if count < 10 else f"{count}{unit}"
    return f"{count}G"


def _tabs(view: View, width: int) -> Text:
    """List the states with their counts, in the longest form that fits."""
    ways: list[tuple[int, Callable[[int], str]]] = [
        (10, "{:,}".format),
        (4, str),
        (4, compact),
        (2, compact),
    ]
    line = Text()
    for letters, number in ways:
        line = Text(" ")
        for state in LISTING_ORDER:
            count = view.counts.get(state, 0)
            chosen = state == view.jobs.state
            style = f"{STYLES[state] if count else 'dim'}{' reverse' if chosen else ''}"
            words = f"{state[:letters]} {number(count)}"
            line.append(f"[{words}]" if chosen else f" {words} ", style)
        if len(line.plain.rstrip()) <= width:
            break
    line.truncate(width, pad=True)
    return line


def _foot(view: View, width: int) -> Text:
    if view.mode == "filter":
        return Text(fit(f" /{view.jobs.search}_", width), "bold")
    if view.mode == "confirm":
        return Text(fit(f" cancel {view.asked}? y: yes, any other key: no", width), "bold")
    if view.message:
        return Text(fit(f" {view.message}", width), "bold")
    place = ""
    if view.jobs.search:
        place = f" [{view.jobs.search}: {view.jobs.page.total:,} found; esc: all]"
    if view.jobs.page.pages > 1:
        place += f" page {view.jobs.page.number:,}/{view.jobs.page.pages:,}"
    keys = next((keys for keys in _KEYS if len(place) + len(keys) + 2 <= width), _KEYS[-1])
    return Text(fit(f"{place} {keys}", width), "dim")


def _help(width: int) -> Iterator[Text]:
    wide = width > 21 + max(len(words) for _, words, _ in HELP)
    if wide:
        yield from (Text(" Keys"), Text(""))
    for keys, words, few in HELP:
        yield Text(f" {keys:<18}  {words}" if wide else f" {keys:<16} {few}")
    if wide:
        yield Text("")
    yield Text(" Any key goes back.")


def _log(log: Log, width: int, height: int) -> Iterator[Text]:
    yield Text(fit(f" {log.id}  {log.path}", width), "reverse")
    end = len(log.lines) - log.back
    shown: list[str] = []
    for line in reversed(log.lines[max(end - height, 0) : end]):
        shown = [*(chop_cells(line, width) or [""]), *shown]
        if len(shown) >= height - 2:
            break
    shown = shown[-(height - 2) :]
    yield from (Text(line) for line in shown)
    yield from (Text("") for _ in range(height - 2 - len(shown)))
    about = f"{log.back} lines below; G: follow" if log.back else "following"
    yield Text(fit(f" {about}  ↑↓ pgup pgdn scroll  q back", width), "dim")


def draw(view: View, width: int, height: int, *, ascii_only: bool = False) -> RenderableType:
    """Draw the view as `height` lines of at most `width` cells.

    Sets the view's `height`, and `jobs.rows` to the number of jobs that fit.
    """
    view.height = height
    if view.mode == "log" and view.log is not None:
        return _whole([*_log(view.log, width, height)], height)
    if view.mode == "help":
        return _whole([*_help(width)], height)
    above = [_title(view, width)]
    if height >= SHORT:
        above.append(_throughput(view, width, PLAIN_BARS if ascii_only else BARS))
        above += _workers(view.workers, width, max(height // 6, 2))
    above.append(_tabs(view, width))
    view.jobs.rows = max(height - len(above) - 2, 1)
    lines = [*above, *_list(view, width)][: height - 1]
    lines += [Text("")] * (height - 1 - len(lines))
    return _whole([*lines, _foot(view, width)], height)


def _whole(lines: list[Text], height: int) -> RenderableType:
    """Join the lines of a screen. A line that is too long is cut, never wrapped."""
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
    return Group(*lines[:height])

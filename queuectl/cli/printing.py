"""Output on a terminal or in a pipe: JSON, notes, colours, tables and progress bars."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

import msgspec
import typer

from queuectl.view.status import as_json
from queuectl.view.text import cells, cut, printable

T = TypeVar("T")

_COLOURS = {
    "processing": "36", "completed": "32", "failed": "33", "dead": "31", "bold": "1", "dim": "2",
}  # fmt: skip
_NOTHING = {"-", "0", ""}
_MAX_PADDING = 48


def print_json(value: Any) -> None:
    """Print one JSON document, which is UTF-8 in every locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(as_json(value), indent=2) + b"\n")


def note(message: str) -> None:
    """Print to stderr what is not data."""
    print(message, file=sys.stderr)


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return text with colours if the stream is a terminal that shows them."""
    stream = stream or sys.stdout
    if not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style in _COLOURS else text


@contextlib.contextmanager
def progress(label: str, length: int | None, *, hidden: bool = False) -> Iterator[Any]:
    """Show a progress bar on stderr if it is a terminal. A `length` of None is unknown.

    The bar has `update(steps)`, and `pos`, the steps so far.
    """
    endless: Any = None if length is not None else iter(int, 1)  # an iterator without a length
    with typer.progressbar(
        endless,
        length,
        label=label,
        show_pos=length is None,
        file=sys.stderr,
        hidden=hidden or not sys.stderr.isatty(),
    ) as bar:
        yield bar


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    flexible: Mapping[int, int],
    droppable: Sequence[int] = (),
) -> None:
    """Print a table, cut to the width of the terminal if there is one.

    Columns are given by number. First those of the `droppable` columns that are empty are left out.
    Then the `flexible` columns are narrowed, but not below the width that is given for each. Where
    that is not enough, the other droppable columns are left out, in the order given. In a pipe
    nothing is cut, and a very long cell does not widen its whole column.
    """
    cells_of = [[printable(cell) for cell in row] for row in rows]
    columns = [list(column) for column in zip(header, *cells_of, strict=True)]
    widths = {number: max(map(cells, column)) for number, column in enumerate(columns)}
    screen = sys.stdout.isatty()
    if screen:
        empty = [n for n in droppable if {*columns[n][1:]} <= _NOTHING]
        _fit(widths, flexible, empty, [number for number in droppable if number not in empty])
    else:
        widths = {number: min(width, _MAX_PADDING) for number, width in widths.items()}
    for row in [header, *cells_of]:
        line = _line([row[number] for number in widths], [*widths.values()], screen)
        if row is header:
            print(styled(line, "bold"))
            continue
        state = next((cell for cell in row if cell in _COLOURS), "")
        print(line.replace(state, styled(state, state), 1) if state else line)


def _fit(
    widths: dict[int, int],
    flexible: Mapping[int, int],
    empty: Iterable[int],
    droppable: Iterable[int],
) -> None:
    """Drop and narrow columns until they fit the terminal."""
    available = shutil.get_terminal_size().columns

    def excess(narrowed: bool) -> int:
        least = {n: min(w, flexible.get(n, w)) if narrowed else w for n, w in widths.items()}
        return sum(least.values()) + 2 * (len(least) - 1) - available

    for number in empty:
        if excess(narrowed=False) > 0:
            del widths[number]
    for number in droppable:
        if excess(narrowed=True) > 0:
            del widths[number]
    # A terminal that is too narrow even so: the widest goes on giving.
    least = {n: min(widths[n], flexible[n]) for n in flexible if n in widths}
    while excess(narrowed=False) > 0 and widths:
        wide = [n for n in least if widths[n] > least[n]] or [n for n in least if widths[n] > 1]
        if not wide:
            return
        widths[max(wide, key=lambda number: widths[number])] -= 1


def _line(row: Sequence[str], widths: Sequence[int], screen: bool) -> str:
    return "  ".join(_padded(*pair, screen) for pair in zip(row, widths, strict=True)).rstrip()


def _padded(text: str, width: int, screen: bool) -> str:
    if screen:
        text = cut(text, width, "…" if sys.stdout.encoding.lower().startswith("utf") else "~")
    return text + " " * (width - cells(text))


# -- a pager ---------------------------------------------------------------------------------


class _Screen(io.StringIO):
    """What is printed for the terminal, kept until it is known whether it fits."""

    encoding = ""

    def isatty(self) -> bool:
        return True


def paged(show: Callable[[T], object]) -> Callable[[T], None]:
    """Return a function that shows data as `show` does, through a pager if it is long.

    As git does: only on a terminal, by $PAGER or less, and less ends by itself and keeps colours.
    """

    def show_paged(data: T) -> None:
        if not sys.stdout.isatty():
            show(data)
            return
        screen = _Screen()
        screen.encoding = sys.stdout.encoding
        with contextlib.redirect_stdout(screen):
            show(data)
        text = screen.getvalue()
        if text.count("\n") < shutil.get_terminal_size().lines or not _page(text):
            sys.stdout.write(text)

    return show_paged


def _page(text: str) -> bool:
    """Show text in the pager; return whether there is one."""
    pager = os.environ.get("PAGER", "less").strip()
    if pager in ("", "cat") or shutil.which(pager.split()[0]) is None:
        return False
    import subprocess  # not at the top: an enqueue needs none

    environment = {"LESS": "FRX", **os.environ}
    with interrupts_left_to_child():
        process = subprocess.Popen(["/bin/sh", "-c", pager], stdin=subprocess.PIPE, env=environment)
        process.communicate(text.encode(sys.stdout.encoding, "backslashreplace"))
    return True


@contextlib.contextmanager
def interrupts_left_to_child() -> Iterator[None]:
    """Ignore Ctrl-C while a program has the terminal, to which it means something of its own."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be inherited
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

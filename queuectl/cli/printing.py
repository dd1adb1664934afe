"""Output on a terminal or in a pipe: JSON, notes, colours, tables and progress bars."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import msgspec
import typer

from queuectl.view.status import utf8
from queuectl.view.text import printable

_COLOURS = {
    "processing": "36", "completed": "32", "failed": "33", "dead": "31", "bold": "1", "dim": "2",
}  # fmt: skip
_MIN_COLUMN = 8
_MAX_PADDING = 48


def print_json(value: Any) -> None:
    """Print one JSON document, which is UTF-8 in every locale.

    Bytes of file names that are not UTF-8 are escaped in it.
    """
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_in_utf8(value))
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(text, indent=2) + b"\n")


def _in_utf8(value: Any) -> Any:
    match value:
        case str():
            return utf8(value)
        case dict():
            return {key: _in_utf8(each) for key, each in value.items()}
        case list():
            return [_in_utf8(each) for each in value]
        case msgspec.Struct():
            return _in_utf8(msgspec.structs.asdict(value))
    return value


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
    flexible: Sequence[int] = (),
    droppable: Sequence[int] = (),
) -> None:
    """Print a table, cut to the width of the terminal if there is one.

    Columns are given by number. First the `flexible` columns are narrowed; where that is not
    enough, the `droppable` ones are left out, in the order given. In a pipe nothing is cut, and
    a very long cell does not widen its whole column.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    cut = sys.stdout.isatty()
    if cut:
        available = shutil.get_terminal_size().columns
        dropped = _columns_to_drop(widths, flexible, droppable, available)
        header, *cells = [_without(row, dropped) for row in (header, *cells)]
        flexible = [n - sum(each < n for each in dropped) for n in flexible]
        widths = [width for n, width in enumerate(widths) if n not in dropped]
        _fit(widths, flexible, available)
    else:
        widths = [min(width, _MAX_PADDING) for width in widths]
    print(styled(_line(header, widths, cut), "bold"))
    for row in cells:
        line = _line(row, widths, cut)
        state = next((cell for cell in row if cell in _COLOURS), "")
        print(line.replace(state, styled(state, state), 1) if state else line)


def _columns_to_drop(
    widths: Sequence[int], flexible: Sequence[int], droppable: Sequence[int], available: int
) -> set[int]:
    """Choose which of the droppable columns to leave out so that the others fit."""
    smallest = {
        n: min(width, _MIN_COLUMN) if n in flexible else width for n, width in enumerate(widths)
    }
    dropped: set[int] = set()
    for number in droppable:
        if sum(smallest.values()) + 2 * (len(smallest) - 1) <= available:
            break
        del smallest[number]
        dropped.add(number)
    return dropped


def _without(row: Sequence[str], dropped: set[int]) -> list[str]:
    return [cell for number, cell in enumerate(row) if number not in dropped]


def _fit(widths: list[int], flexible: Sequence[int], available: int) -> None:
    """Narrow the widest of the flexible columns until the table fits."""
    while sum(widths) + 2 * (len(widths) - 1) > available:
        widest = max(flexible, key=lambda number: widths[number], default=None)
        if widest is None or widths[widest] <= _MIN_COLUMN:
            return
        widths[widest] -= 1


def _line(cells: Sequence[str], widths: Sequence[int], cut: bool) -> str:
    return "  ".join(_padded(*pair, cut) for pair in zip(cells, widths, strict=True)).rstrip()


def _padded(text: str, width: int, cut: bool) -> str:
    if cut and _width(text) > width:
        while _width(text) > width - 1:
            text = text[:-1]
        text += "…" if sys.stdout.encoding.lower().startswith("utf") else "~"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )

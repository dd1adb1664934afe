"""How things look to people, on a terminal or in a pipe; and as JSON."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec

from queuectl.view.status import utf8
from queuectl.view.text import printable

_COLOURS = {
    "processing": "36", "completed": "32", "failed": "33", "dead": "31", "bold": "1", "dim": "2",
}  # fmt: skip
_LEAST_COLUMN = 8
_MOST_PADDING = 48


def print_json(value: Any) -> None:
    """Print one JSON document; bytes of file names that are not UTF-8 are spelled out in it."""
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_in_utf8(value))
    print(msgspec.json.format(text, indent=2).decode())


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
    """Say something that is not the data: to stderr."""
    print(message, file=sys.stderr)


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Colour text, on a terminal that takes colours."""
    stream = stream or sys.stdout
    if not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style in _COLOURS else text


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    flexible: Sequence[int] = (),
    droppable: Sequence[int] = (),
) -> None:
    """Print a table. On a terminal the `flexible` columns, by number, are cut to fit it.

    Where that is not enough, the `droppable` ones are left out, in their order.
    Elsewhere nothing is cut; long cells just stick out, so that one does not pad all lines.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    cut = sys.stdout.isatty()
    if cut:
        available = shutil.get_terminal_size().columns
        gone = _too_many(widths, flexible, droppable, available)
        header, *cells = [_without(row, gone) for row in (header, *cells)]
        flexible = [n - sum(each < n for each in gone) for n in flexible]
        widths = [width for n, width in enumerate(widths) if n not in gone]
        _fit(widths, flexible, available)
    else:
        widths = [min(width, _MOST_PADDING) for width in widths]
    print(styled(_line(header, widths, cut), "bold"))
    for row in cells:
        line = _line(row, widths, cut)
        state = next((cell for cell in row if cell in _COLOURS), "")
        print(line.replace(state, styled(state, state), 1) if state else line)


def _too_many(
    widths: Sequence[int], flexible: Sequence[int], droppable: Sequence[int], available: int
) -> set[int]:
    """Which of the droppable columns have to go for the others to fit."""
    least = {
        n: min(width, _LEAST_COLUMN) if n in flexible else width for n, width in enumerate(widths)
    }
    gone: set[int] = set()
    for number in droppable:
        if sum(least.values()) + 2 * (len(least) - 1) <= available:
            break
        del least[number]
        gone.add(number)
    return gone


def _without(row: Sequence[str], gone: set[int]) -> list[str]:
    return [cell for number, cell in enumerate(row) if number not in gone]


def _fit(widths: list[int], flexible: Sequence[int], available: int) -> None:
    """Narrow the widest of the flexible columns until the table fits."""
    while sum(widths) + 2 * (len(widths) - 1) > available:
        widest = max(flexible, key=lambda number: widths[number], default=None)
        if widest is None or widths[widest] <= _LEAST_COLUMN:
            return
        widths[widest] -= 1


def _line(cells: Sequence[str], widths: Sequence[int], cut: bool) -> str:
    return "  ".join(_padded(*pair, cut) for pair in zip(cells, widths, strict=True)).rstrip()


def _padded(text: str, width: int, cut: bool) -> str:
    if cut and _width(text) > width:
        while _width(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )

"""Renders rows for people: one table a figure and disk, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from measure import Row

HEAD = ("", "median", "unit", "least", "most", "of floor", "")


def render(rows: Iterable[Row]) -> str:
    """Lay the rows out as Markdown tables, a headline above each."""
    parts = []
    for (figure, disk), group in groupby(rows, key=lambda row: (row.figure, row.disk)):
        found = list(group)
        parts.append(f"### {figure} on {disk}\n\n{_table([_cells(row) for row in found])}")
    return "\n\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    if row.median is None:
        return (row.contender, "", "", "", "", "", row.note)
    several = len(row.values) > 1
    least = number(min(row.values)) if several else ""
    most = number(max(row.values)) if several else ""
    ratio = f"{row.of_floor:.2f}" if row.of_floor is not None else ""
    return (row.contender, number(row.median), row.unit, least, most, ratio, row.note)


def number(value: float) -> str:
    """Three digits that say something, and no more."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(lines: list[tuple[str, ...]]) -> str:
    everything = [HEAD, *lines]
    wide = [max(len(line[column]) for line in everything) for column in range(len(HEAD))]

    def line(cells: tuple[str, ...]) -> str:
        first, *middle, last = cells
        padded = [f"{cell:>{width}}" for cell, width in zip(middle, wide[1:-1], strict=True)]
        return f"| {' | '.join([first.ljust(wide[0]), *padded, last.ljust(wide[-1])])} |"

    rule = ["-" * wide[0], *("-" * (width - 1) + ":" for width in wide[1:-1]), "-" * wide[-1]]
    return "\n".join([line(HEAD), f"| {' | '.join(rule)} |", *map(line, lines)])

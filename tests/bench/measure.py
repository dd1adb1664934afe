"""Rounds side by side, medians and spreads, and what the kernel says of a process."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
FLOOR = "floor"

Measure = Callable[[Path], float]
"""Does its work in a fresh directory that does not exist yet, and returns one figure."""


class Unavailable(Exception):
    """A contender cannot take part; the message says why."""


@dataclass
class Row:
    """One figure of one contender on one disk; `values` has one entry a round."""

    figure: str
    contender: str
    disk: str
    unit: str
    values: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def of_floor(self) -> float | None:
        """The median of the ratios to the floor of the same round: noise that lasts cancels."""
        pairs = list(zip(self.values, self.floor, strict=False))
        return statistics.median(v / f for v, f in pairs) if pairs else None


class Fresh:
    """Gives out directories that never were: one that was emptied is slower on some disks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count(1)

    def __call__(self) -> Path:
        return self.root / f"round-{next(self._numbers)}"


def interleave(
    contenders: Mapping[str, Measure], rounds: int, fresh: Callable[[], Path]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Measure every contender once a round, each round beginning with the next of them.

    What slows the machine down for a while so hits all alike. Returns the figures by contender,
    and for those who cannot take part the reason.
    """
    values: dict[str, list[float]] = {name: [] for name in contenders}
    reasons: dict[str, str] = {}
    names = list(contenders)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if name not in reasons:
                try:
                    values[name].append(contenders[name](fresh()))
                except Unavailable as reason:
                    reasons[name] = str(reason)
    return values, reasons


def rows(
    figure: str,
    disk: str,
    unit: str,
    measured: tuple[dict[str, list[float]], dict[str, str]],
    *,
    floor: str = FLOOR,
) -> list[Row]:
    """Make one row of each contender, with the floor of the same rounds beside it."""
    values, reasons = measured
    return [
        Row(
            figure,
            name,
            disk,
            unit,
            [] if name in reasons else figures,
            values.get(floor, []),
            f"skipped: {reasons[name]}" if name in reasons else "",
        )
        for name, figures in values.items()
    ]


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used so far, all its threads, its children not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, key: str = "VmRSS") -> float:
    """Resident memory in MiB; the most it ever was with `VmHWM`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wakeups(pid: int) -> int:
    """How often the threads of a process have gone to sleep of their own will."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def until(condition: Callable[[], object], seconds: float, pause: float = 0.01) -> None:
    """Wait for a condition; Unavailable if it does not come about in time."""
    for _ in ticks(seconds, pause):
        if condition():
            return
    raise Unavailable(f"not within {seconds:g} s")


def ticks(seconds: float, pause: float) -> Iterator[float]:
    """Yield the seconds since the start, every `pause`, until `seconds` are over."""
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        yield passed
        time.sleep(pause)

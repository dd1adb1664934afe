"""The chart of the overview as numbers for its template: bars in a box of 600 by 120."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from queuectl.web.timeline import SPANS, Bucket

WIDTH, HEIGHT = 600, 120
_GAP = 0.2
_MIN_HEIGHT = 2.0
"""The height of a bar of one job among thousands, so that it is still visible."""


class Segment(Struct, frozen=True):
    """One coloured part of a bar."""

    kind: str
    x: float
    y: float
    width: float
    height: float


class Bar(Struct, frozen=True):
    """One bucket and how to draw it."""

    label: str
    bucket: Bucket
    segments: list[Segment]
    x: float


class Chart(Struct, frozen=True):
    """All that the template needs."""

    span: str
    width: int
    width_label: str
    bars: list[Bar]
    top: int
    completed: int
    failed: int
    dead: int
    first: str
    middle: str
    incomplete_before: str


def draw(span: str, buckets: Sequence[Bucket], complete_since: float = 0.0) -> Chart:
    """Lay out the bars: completed at the bottom, failed attempts above, dead jobs on top.

    Before `complete_since`, in seconds since the epoch, not everything is counted.
    """
    top = _round_up(max((b.completed + b.failed + b.dead for b in buckets), default=0))
    step = WIDTH / len(buckets)
    bars = []
    for number, bucket in enumerate(buckets):
        x = number * step
        bars.append(Bar(_label(span, bucket.start), bucket, _segments(bucket, x, step, top), x))
    seconds, width = SPANS[span]
    is_incomplete = bool(buckets) and complete_since > buckets[0].start
    return Chart(
        span=span,
        width=width,
        width_label=_length(width),
        bars=bars,
        top=top,
        completed=sum(b.completed for b in buckets),
        failed=sum(b.failed for b in buckets),
        dead=sum(b.dead for b in buckets),
        first=f"{span} ago",
        middle=f"{_length(seconds // 2)} ago",
        incomplete_before=_label(span, complete_since) if is_incomplete else "",
    )


def _segments(bucket: Bucket, x: float, step: float, top: int) -> list[Segment]:
    found, y = [], float(HEIGHT)
    for kind in ("completed", "failed", "dead"):
        if count := getattr(bucket, kind):
            height = max(count / top * HEIGHT, _MIN_HEIGHT)
            y = max(y - height, 0.0)
            left = x + step * _GAP / 2
            found.append(
                Segment(
                    kind, round(left, 2), round(y, 2), round(step * (1 - _GAP), 2), round(height, 2)
                )
            )
    return found


def _round_up(most: int) -> int:
    """Return the end of the scale: a round number whose half is, mostly, round too."""
    scale = 1
    while True:
        for factor in (1, 2, 3, 4, 6, 8):
            if factor * scale >= max(most, 4):
                return factor * scale
        scale *= 10


def _length(seconds: int) -> str:
    """Write a length of the chart: `12h`, `2m30s`; `clock.format_duration` writes `12h00m`."""
    parts = zip((seconds // 3600, seconds // 60 % 60, seconds % 60), "hms", strict=True)
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _label(span: str, start: float) -> str:
    here = datetime.fromtimestamp(start).astimezone()
    return here.strftime("%H:%M:%S" if SPANS[span][1] < 60 else "%H:%M")

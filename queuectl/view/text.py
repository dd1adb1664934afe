"""Text for people: commands, ages, and control characters made visible."""

from __future__ import annotations

import re
import unicodedata

from queuectl import clock
from queuectl.record.job import Job

_JOINER = "\u200d"
_CLUSTER = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}|.(?:[\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff]|\u200d.)*", re.DOTALL
)
"""What a terminal shows as one character: a flag, or a character with all that is joined to it."""


def printable(text: str) -> str:
    """Make text safe for a terminal: characters that cannot be printed become escapes.

    The joiner of emoji stays between two characters that are not ASCII.
    """
    if text.isprintable():
        return text
    joined = zip(" " + text, text, text[1:] + " ", strict=False)
    return "".join(
        c if c.isprintable() or (c == _JOINER and min(before, after) > "\u2000") else _escaped(c)
        for before, c, after in joined
    )


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, _clusters(text)))


def cut(text: str, width: int, end: str = "…") -> str:
    """Cut a text to at most `width` columns; what has been cut ends with `end`."""
    if cells(text) <= width:
        return text
    kept, left = "", width - len(end)
    for cluster in _clusters(text):
        left -= _cells_of(cluster)
        if left < 0:
            break
        kept += cluster
    return kept + end if width >= len(end) else ""


def _clusters(text: str) -> list[str]:
    found: list[str] = []
    for cluster in _CLUSTER.findall(text):
        if found and unicodedata.combining(cluster[0]):
            found[-1] += cluster
        else:
            found.append(cluster)
    return found


def _cells_of(cluster: str) -> int:
    first = cluster[0]
    if len(cluster) > 1 and not first.isascii() and cluster[1] > "\u2000":
        return 2  # a flag, or an emoji with what is joined to it
    if unicodedata.combining(first):
        return 0
    return 2 if unicodedata.east_asian_width(first) in "WF" else 1


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def command_of(job: Job | None) -> str:
    """Write a job's command as a person would type it."""
    if job is None:
        return "-"
    if isinstance(job.command, str):
        return job.command
    import shlex

    return shlex.join(job.command)


def ago(stamp: str | None) -> str:
    """Return how long ago a timestamp was; "-" for None."""
    if stamp is None:
        return "-"
    return clock.format_duration(clock.now() - clock.parse_timestamp(stamp))


def until(stamp: str | None) -> str:
    """Return how long it is until a timestamp: "now" if it has passed, "-" for None."""
    if stamp is None:
        return "-"
    left = clock.parse_timestamp(stamp) - clock.now()
    return clock.format_duration(left) if left > 0 else "now"


def between(start: str | None, end: str | None) -> str:
    """Return the time from one timestamp to another; "-" if one is None."""
    if start is None or end is None:
        return "-"
    return clock.format_duration(clock.parse_timestamp(end) - clock.parse_timestamp(start))

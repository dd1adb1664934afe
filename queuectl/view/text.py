"""Text for people: commands, ages, and control characters made visible."""

from __future__ import annotations

from queuectl import clock
from queuectl.record.job import Job


def printable(text: str) -> str:
    """Make text safe for a terminal: characters that cannot be printed become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


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

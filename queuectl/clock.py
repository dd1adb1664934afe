"""The only module that reads the clock, and the only one that knows how times are written.

Inside, wall-clock times are seconds since the epoch (float); in files they are RFC 3339 in UTC,
to the microsecond. Waits are measured by the monotonic clock only: a wall clock may jump.
"""

from __future__ import annotations

import functools
import math
import re
import time
from datetime import UTC, datetime, timedelta

from queuectl.errors import InvalidInput

monotonic = time.monotonic
now = time.time

LONGEST_DURATION = 1e10
"""Seconds, 300 years: a longer duration is a mistake in its unit."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_FIRST_SECOND, _LAST_SECOND = -62135596800.0, 253402300799.0  # of the years 1 and 9999
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)


def format_timestamp(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339 in UTC: `2026-11-24T03:15:07.250000Z`.

    A time outside the years 1 to 9999 becomes the first or last second of them: the time of a
    file may be absurd. Raises InvalidInput for NaN.
    """
    if seconds != seconds:
        raise InvalidInput("a time must be a number of seconds, not NaN")
    within = min(max(seconds, _FIRST_SECOND), _LAST_SECOND)
    whole = math.floor(within)
    second, micros = divmod(round((within - whole) * 1e6), 1_000_000)
    return f"{_format_second(whole + second)}.{micros:06}Z"


@functools.lru_cache(8)
def _format_second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


@functools.lru_cache(256)
def parse_timestamp(text: str) -> float:
    """Read an RFC 3339 timestamp as seconds since the epoch.

    Raises InvalidInput for anything else, also for a time without a time zone: it would mean a
    different instant on every machine.
    """
    if _RFC3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).timestamp()
        except (ValueError, OverflowError):
            pass
    raise InvalidInput(f"{text!r} is not an RFC 3339 timestamp such as 2026-11-24T08:00:00Z")


def is_timestamp(text: str) -> bool:
    """Whether a text is an RFC 3339 timestamp with a time zone."""
    try:
        parse_timestamp(text)
    except InvalidInput:
        return False
    return True


def parse_moment(text: str) -> float:
    """Read a time as a person writes it: RFC 3339, a local date and time, or a time of day.

    A time of day (`08:30`) means its next occurrence. Raises InvalidInput.
    """
    here = datetime.now().astimezone()
    if day := _TIME_OF_DAY.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in day.groups())
        if hour < 24 and minute < 60 and second < 60:
            moment = here.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return (moment if moment > here else moment + timedelta(days=1)).timestamp()
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{text!r} is not a time: write 2026-11-24T08:00:00Z, '2026-11-24 08:00' or 08:00"
        ) from None


def parse_duration(text: str) -> float:
    """Read a duration as seconds: `90`, `10m`, `1h30m`, `1.5h`, `7d`. Raises InvalidInput."""
    seconds = float("nan")
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST_DURATION:
        raise InvalidInput(f"{text[:40]!r} is longer than 300 years")
    if seconds == seconds:
        return seconds
    raise InvalidInput(f"{text!r} is not a duration: write 90, 30s, 10m, 1h30m or 7d")


def format_duration(seconds: float) -> str:
    """Write seconds for people, two units at most: `40ms`, `1.4s`, `3m05s`, `2h10m`, `4d03h`."""
    if seconds < 1:
        return f"{max(int(seconds * 1000), 0)}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"

"""Times as they are written."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import clock
from queuectl.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", 1),
        ("1970-01-01 00:00:01.25Z", 1.25),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59Z", -1),
        ("2026-11-24T03:15:07.250000Z", 1795490107.25),
        ("2026-11-24T03:15:07.123456789Z", 1795490107.123456),
    ],
)
def test_a_timestamp_is_read(text: str, seconds: float) -> None:
    assert clock.parse_timestamp(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-24",
        "2026-11-24T08:00:00",
        "2026-11-24T08:00Z",
        "2026-11-24T24:00:01Z",
        "2026-02-30T08:00:00Z",
        "2026-11-24T08:00:00Z\n",
        "2026-11-24T08:00:00+25:00",
        "٢٠٢٦-11-24T08:00:00Z",
        "1790000000",
    ],
)
def test_any_other_text_is_not_a_timestamp(text: str) -> None:
    with pytest.raises(InvalidInput, match="RFC 3339"):
        clock.parse_timestamp(text)


@given(st.integers(-(10**15), 10**17).map(lambda microseconds: microseconds / 1e6))
def test_a_timestamp_that_is_written_reads_the_same_to_the_microsecond(seconds: float) -> None:
    assert clock.parse_timestamp(clock.format_timestamp(seconds)) == pytest.approx(
        seconds, abs=2e-6
    )


@pytest.mark.parametrize("seconds", [-1e18, 1e12, 1e18])
def test_a_time_beyond_the_calendar_is_written_all_the_same(seconds: float) -> None:
    clock.parse_timestamp(clock.format_timestamp(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("1d2h3m4s", 93784),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert clock.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "-1", "1 h", "1y", "h1", "1h30", "1e3", "inf", "٣"])
def test_any_other_text_is_not_a_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="duration"):
        clock.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.04, "40ms"),
        (1.44, "1.4s"),
        (12, "12s"),
        (59.7, "1m00s"),
        (185, "3m05s"),
        (7800, "2h10m"),
        (356400, "4d03h"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert clock.format_duration(seconds) == text


def test_a_moment_with_an_offset_is_that_instant() -> None:
    assert clock.parse_moment("2026-11-24T08:00:00Z") == 1795507200


def test_a_moment_without_an_offset_is_local() -> None:
    local = datetime(2026, 11, 24, 8, 0).astimezone()
    assert clock.parse_moment("2026-11-24 08:00") == local.timestamp()


@pytest.mark.parametrize("minutes", [-90, 90])
def test_a_time_of_day_is_its_next_occurrence(minutes: int) -> None:
    then = datetime.now().astimezone() + timedelta(minutes=minutes)
    ahead = clock.parse_moment(f"{then:%H:%M}") - clock.now()
    assert -1 < ahead <= 25 * 3600  # a day with a change of the clock has 25 hours


@pytest.mark.parametrize("text", ["", "25:00", "12:60", "noon", "2026-02-30", "8"])
def test_any_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time"):
        clock.parse_moment(text)

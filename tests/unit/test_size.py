"""Sizes as people write them."""

from __future__ import annotations

import pytest

from queuectl.record.size import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        (" 500 ", 500),
        ("500B", 500),
        ("500k", 512_000),
        ("1KiB", 1024),
        ("10 MB", 10 * 1024**2),
        ("1.5G", 3 * 1024**3 // 2),
        ("2T", 2 * 1024**4),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1e3", "5%", "10P", "10M 5K", "٣M", "1" * 400])
def test_what_is_not_a_size_is_none(text: str) -> None:
    assert parse_size(text) is None

"""Sizes as people write them: `500000`, `500K`, `10M`, `1.5G`."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,30}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int | None:
    """Read a size as bytes: `500K` is 500 * 1024. Returns None if the text is not a size."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(float(found[1]) * 1024 ** _POWERS[found[2].upper()])

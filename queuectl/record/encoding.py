"""The JSON of small records: run files, workers' files and hook markers."""

from __future__ import annotations

import msgspec


def encode(record: msgspec.Struct) -> bytes:
    """Write a small record as people read it: indented, with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"

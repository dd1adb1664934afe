"""The JSON of small records: run files, worker files and hook markers."""

from __future__ import annotations

import msgspec


def encode(record: msgspec.Struct) -> bytes:
    """Encode a small record for people who read the file: indented, with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"

"""The spool as any program sees it: names of directories, and files that are put there."""

from __future__ import annotations

import os
from pathlib import Path

STATE_DIRECTORIES = {
    "pending": "pending",
    "processing": "processing",
    "failed": "failed",
    "completed": "done",
    "dead": "dead",
}
"""The directory of each state."""
DIRECTORIES = (*STATE_DIRECTORIES.values(), "tmp", "logs", "workers")
"""All that a spool has."""


def put(
    root: Path, name: str, data: str | bytes = '{"command": "true"}', state: str = "pending"
) -> Path:
    """Put a file into a directory as any program would: rename it in when it is whole."""
    staged = root / "tmp" / f"dropped-{os.urandom(4).hex()}"
    staged.write_bytes(data.encode() if isinstance(data, str) else data)
    return staged.rename(root / state / name)

"""Fixtures of the tests of hooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.hooks import TELL

from queuectl import Queue


@pytest.fixture
def told(queue: Queue, tmp_path: Path) -> Callable[[], list[str]]:
    """Let every hook write its event and its job to a file; return the lines of it, sorted."""
    file = tmp_path / "told"
    for event in ("done", "dead", "idle"):
        queue.set_setting(f"on_{event}", f"{TELL} {file}")
    file.touch()
    return lambda: sorted(line.strip() for line in file.read_text().splitlines())


@pytest.fixture
def markers(root: Path) -> Callable[[], list[str]]:
    """Return the names of all hook markers."""
    return lambda: sorted(path.name for path in (root / "processing").rglob("*.hook"))

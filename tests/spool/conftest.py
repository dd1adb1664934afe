"""Fixtures of the tests of hooks and of old files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.hooks import TELL

from queuectl import Queue, clock


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


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock on: nothing can set the time of a file's last change."""

    def move(hours: float) -> None:
        monkeypatch.setattr(clock, "now", lambda: time.time() + hours * 3600)

    return move

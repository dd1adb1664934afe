"""The thread of the live updates: it survives any error, and says what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import loops

from queuectl import Queue
from queuectl.web import live
from queuectl.web.access import Access
from queuectl.web.live import LiveUpdates, Snapshot
from queuectl.web.site import Site


@pytest.fixture
def updates(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveUpdates]:
    """Live updates that look only at an event, and often whether the spool is there."""
    monkeypatch.setattr(live, "RESCAN_SECONDS", 10_000.0)
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(live, "UNWATCHED_SECONDS", 0.05)
    updates = Site(queue, Access()).live
    yield updates
    updates.close()


def _see(updates: LiveUpdates, *steps: tuple[Callable[[], Any], Callable[[Snapshot], Any]]) -> None:
    """With a page open, do each step, and wait until what is published fits it."""

    async def play() -> None:
        with updates.subscribe() as page:
            updates.start()
            for step, fits in steps:
                step()
                while not fits(updates.snapshot):
                    await asyncio.wait_for(page.wait(10), 30)

    loops.run(play(), 60)


def _nothing() -> None:
    pass


def test_a_spool_that_is_moved_away_and_back_is_told_of(
    queue: Queue, root: Path, updates: LiveUpdates
) -> None:
    away = root.with_name("away")
    _see(
        updates,
        (_nothing, lambda seen: seen.version and not seen.problem),
        (
            lambda: root.rename(away),
            lambda seen: seen.problem == f"{root} is gone: moved or removed",
        ),
        (lambda: away.rename(root), lambda seen: not seen.problem),
        (lambda: queue.enqueue("true"), lambda seen: seen.counts["pending"] == 1),
    )


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), KeyError("x"), ValueError()])
def test_no_error_ends_the_thread(
    queue: Queue, updates: LiveUpdates, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    counts, failing = updates._browser.counts, [True]

    def count() -> Any:
        if failing:
            raise error
        return counts()

    monkeypatch.setattr(updates._browser, "counts", count)
    _see(
        updates,
        (_nothing, lambda seen: seen.problem),
        (failing.clear, lambda seen: seen.version > 1 and not seen.problem),
        (lambda: queue.enqueue("true"), lambda seen: seen.counts["pending"] == 1),
    )
    assert updates._thread.is_alive()

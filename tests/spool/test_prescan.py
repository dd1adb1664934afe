"""A prescan: with and without it, and however it ends, the worker finds the same jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.spool.spool import Spool
from queuectl.worker import prescan
from queuectl.worker.hooks import Hooks
from queuectl.worker.intake import Intake

JOBS = 30


@pytest.fixture
def many(root: Path, drop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pending/` full enough for a prescan; not all of its files are jobs."""
    monkeypatch.setattr(prescan, "MANY", JOBS - 1)
    for number in range(JOBS):
        drop(f"{number:02}.json", f'{{"command": "true", "priority": {number % 7}}}')
    drop("other.json", '{"command": "true", "id": "wanted"}')
    drop("tried.json", '{"command": "true", "history": [{"attempt": 1, "outcome": "failed"}]}')
    drop("later.json", '{"command": "true", "run_at": "2099-01-01T00:00:00Z"}')
    drop("half.json", '{"command": "tr')
    with open(os.fsencode(root) + b"/pending/\xff.json", "w") as file:
        file.write('{"command": "true", "id": "bytes"}')
    return root


def _hooks(spool: Spool) -> Hooks:
    return Hooks(spool, "nobody-1-0000", 1, changed=lambda: None)


def _known(spool: Spool, *, ahead: bool) -> tuple[list[Any], set[str]]:
    """Return what the backlog gives out, in its order, and the names that the prescan left out."""
    intake = Intake(spool, _hooks(spool))
    if ahead:
        assert [*intake.read_ahead()] != []
    left = {name for name in spool.reader.names("pending") if not intake.knows("pending", name)}
    intake.look_at_unknown()
    taken = []
    while (entry := intake.backlog.take(wait=False)) is not None:
        taken.append(entry)
    return [*taken, len(intake.backlog.scheduled())], left


def test_a_prescan_finds_the_jobs_that_a_scan_finds(many: Path, spool: Spool) -> None:
    expected, _ = _known(spool, ahead=False)
    found, left = _known(spool, ahead=True)
    assert found == expected
    assert len(found) == JOBS + 4  # the last one is the number of scheduled jobs
    assert left == {"half.json", os.fsdecode(b"\xff.json")}


def test_a_few_files_are_read_without_a_prescan(
    many: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prescan, "MANY", 1000)
    assert [*Intake(spool, _hooks(spool)).read_ahead()] == []


@pytest.mark.parametrize("program", ["/nonexistent/python", "/bin/false", "/bin/echo"])
def test_a_scan_finds_all_jobs_if_the_prescan_fails(
    many: Path,
    queue: Queue,
    drain: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str,
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    drain(queue)
    assert "pending jobs" not in caplog.text  # no error has ended the scan
    assert queue.status().jobs["completed"] == JOBS + 3


def test_all_jobs_that_a_prescan_finds_are_run(
    many: Path, queue: Queue, drain: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    drain(queue)
    jobs = queue.status().jobs
    assert (jobs["completed"], jobs["pending"], jobs["dead"]) == (JOBS + 3, 1, 1)
    assert "cannot be claimed" not in caplog.text

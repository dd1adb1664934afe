"""Reading ahead in another process: the same is known as without it, whatever becomes of it."""

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
    """A `pending/` with jobs of every kind, and what is none; so many are many here."""
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
    """What is taken from the backlog, in its order, and what was left to be looked at here."""
    intake = Intake(spool, _hooks(spool))
    if ahead:
        assert [*intake.read_ahead()] != []
    left = {name for name in spool.reader.names("pending") if not intake.knows("pending", name)}
    intake.look_at_unknown()
    taken = []
    while (entry := intake.backlog.take(wait=False)) is not None:
        taken.append(entry)
    return [*taken, intake.backlog.scheduled()], left


def test_what_is_read_ahead_is_what_would_have_been_read(many: Path, spool: Spool) -> None:
    expected, _ = _known(spool, ahead=False)
    found, left = _known(spool, ahead=True)
    assert found == expected
    assert len(found) == JOBS + 4  # and the number of those for later
    assert left == {"half.json", os.fsdecode(b"\xff.json")}


def test_a_few_files_are_not_read_ahead(
    many: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prescan, "MANY", 1000)
    assert [*Intake(spool, _hooks(spool)).read_ahead()] == []


@pytest.mark.parametrize("program", ["/nonexistent/python", "/bin/false", "/bin/echo"])
def test_a_prescan_that_fails_costs_nothing(
    many: Path,
    queue: Queue,
    drain: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str,
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    drain(queue)
    assert "pending jobs" not in caplog.text  # that is: the scan was not ended by it
    assert queue.status().jobs["completed"] == JOBS + 3


def test_all_that_is_read_ahead_is_run(
    many: Path, queue: Queue, drain: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    drain(queue)
    jobs = queue.status().jobs
    assert (jobs["completed"], jobs["pending"], jobs["dead"]) == (JOBS + 3, 1, 1)
    assert "cannot be claimed" not in caplog.text

"""Purge: a job goes with all its files, and nothing of a job that has its id after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk.locks import try_lock
from queuectl.spool.places import Place
from queuectl.spool.purge import purge
from queuectl.spool.spool import Spool


@pytest.fixture
def ended(queue: Queue, drain: Callable[..., Any]) -> Place:
    """A dead job `x` with two attempts, and so two logs."""
    queue.enqueue("echo old; exit 1", id="x", max_retries=1)
    drain(queue)
    return queue.spool.reader.find_exactly("x")


def _logs(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "logs").iterdir()}


def test_a_job_goes_with_its_logs_and_its_reason(spool: Spool, root: Path, ended: Place) -> None:
    (root / "dead" / "x.error").write_text("why\n")

    assert purge(spool, [ended]) == 1

    assert [*(root / "dead").iterdir(), *(root / "tmp").iterdir()] == []
    assert _logs(root) == {}


def test_the_log_of_a_new_job_with_the_id_stays(
    spool: Spool, root: Path, ended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = spool.disk.take

    def take_and_start_anew(source: str, target: str) -> list[str]:
        owed = take(source, target)
        if source == ended.path:  # the id is free: a dropped job with it starts, and dies
            (root / "logs" / "x.1.log").write_text("new\n")
            (root / "dead" / "x.error").write_text("new\n")
        return owed

    monkeypatch.setattr(spool.disk, "take", take_and_start_anew)

    assert purge(spool, [ended]) == 1
    assert _logs(root) == {"x.1.log": "new\n"}
    assert (root / "dead" / "x.error").read_text() == "new\n"


def test_a_job_that_is_retried_first_keeps_its_logs(
    queue: Queue, root: Path, ended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, before = queue.spool.disk.take, _logs(root)

    def retry_first(source: str, target: str) -> list[str]:
        if source == ended.path:
            Queue(root).retry("x")
        return take(source, target)

    monkeypatch.setattr(queue.spool.disk, "take", retry_first)

    assert purge(queue.spool, [ended]) == 0
    assert queue.get("x").state == "pending"
    assert _logs(root) == before
    assert len(before) == 2
    assert [*(root / "tmp").iterdir()] == []


def test_nobody_else_frees_or_takes_an_id_meanwhile(
    spool: Spool, ended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, seen = os.rename, []

    def look(source: str, target: str) -> None:
        seen.append(try_lock(spool.layout.id_lock))
        rename(source, target)

    monkeypatch.setattr(os, "rename", look)
    purge(spool, [ended])

    assert seen == [None] * 3  # two logs and the job


def test_a_stray_whose_name_is_no_id_can_be_purged(queue: Queue, root: Path) -> None:
    (root / "dead" / "a b.json").write_text("{}")

    assert queue.purge("dead", -3600) == 1
    assert [*(root / "dead").iterdir(), *(root / "tmp").iterdir()] == []

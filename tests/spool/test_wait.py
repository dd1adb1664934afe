"""Waiting for jobs to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import NoSuchJob, TimedOut


def test_jobs_that_are_over_are_not_waited_for(queue: Queue, drop: Callable[..., Path]) -> None:
    drop("good.json", state="done")
    drop("bad.json", state="dead")
    assert queue.wait(["go", "bad"]) == {"good": "completed", "bad": "dead"}


def test_a_wait_ends_when_the_last_job_ends(queue: Queue, work: Callable[..., Any]) -> None:
    told: list[int] = []
    ended: dict[str, str] = {}

    def wait(worker: Any) -> None:
        ended.update(queue.wait(ids, timeout=30, progress=told.append))
        worker.stop()

    ids = [queue.enqueue("true"), queue.enqueue("exit 1", max_retries=1), queue.enqueue("true")]
    work(queue, wait)
    assert ended == dict(zip(ids, ("completed", "dead", "completed"), strict=True))
    assert told == sorted(told)
    assert told[-1] == 3


def test_a_wait_gives_up_and_names_who_has_not_ended(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    with pytest.raises(TimedOut, match="still not ended: a") as refusal:
        queue.wait(["a"], timeout=0.05)
    assert refusal.value.exit_code == 124


def test_a_job_that_is_removed_meanwhile_is_missed(queue: Queue, root: Path) -> None:
    path = root / "pending" / f"{queue.enqueue('true', id='a')}.json"
    with pytest.raises(NoSuchJob):
        queue.wait(["a"], timeout=20, progress=lambda _: path.unlink(missing_ok=True))


def test_a_longer_id_is_not_taken_for_a_job_that_was_removed(
    queue: Queue, root: Path, drop: Callable[..., Path]
) -> None:
    path = root / "pending" / f"{queue.enqueue('true', id='a')}.json"
    drop("ab.json", state="done")
    with pytest.raises(NoSuchJob):
        queue.wait(["a"], timeout=20, progress=lambda _: path.unlink(missing_ok=True))


def test_no_job_at_all_is_not_waited_for(queue: Queue) -> None:
    with pytest.raises(NoSuchJob):
        queue.wait(["a"])


def test_many_may_wait_for_one_job(queue: Queue, drain: Callable[..., Any]) -> None:
    ended: list[Any] = []
    job_id = queue.enqueue("true")
    waiters = [
        threading.Thread(target=lambda: ended.append(queue.wait([job_id], timeout=30)))
        for _ in range(4)
    ]
    for waiter in waiters:
        waiter.start()
    drain(queue)
    for waiter in waiters:
        waiter.join()
    assert ended == [{job_id: "completed"}] * 4

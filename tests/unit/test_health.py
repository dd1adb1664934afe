"""What follows from a snapshot of a queue, as a table; and how the snapshot is taken."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from queuectl import Queue, clock
from queuectl.view import health
from queuectl.view.health import Limits, Snapshot, Space, judge
from queuectl.view.status import WorkerStatus

ALIVE = WorkerStatus("w", "host", 1, 2, "2026-11-24T03:00:00Z", True, [])
DIED = replace(ALIVE, alive=False)
LEAVING = replace(ALIVE, leaving=True)
GIB = 2**30
ROOM = Space(50 * GIB, 100 * GIB, 500, 1000)
WELL = Snapshot(spool="/spool", jobs={"dead": 3}, workers=[ALIVE], space=ROOM)
NO_LIMITS = Limits()


def seen(**changes: Any) -> Snapshot:
    return replace(WELL, **changes)


def room(**changes: Any) -> Snapshot:
    return seen(space=replace(ROOM, **changes))


@pytest.mark.parametrize(
    ("snapshot", "limits", "expected"),
    [
        (WELL, NO_LIMITS, []),
        (seen(workers=[]), NO_LIMITS, []),
        (seen(workers=[], next_run=5.0), NO_LIMITS, []),
        (seen(oldest_due=5.0), NO_LIMITS, []),
        (seen(workers=[], oldest_due=0.0), NO_LIMITS, ["workers"]),
        (seen(workers=[DIED], oldest_due=5.0), NO_LIMITS, ["workers"]),
        (seen(workers=[DIED], abandoned=1), NO_LIMITS, ["workers"]),
        (seen(workers=[DIED, ALIVE], abandoned=1), NO_LIMITS, []),
        (seen(workers=[LEAVING], oldest_due=5.0), NO_LIMITS, ["workers"]),
        (seen(workers=[LEAVING, ALIVE], oldest_due=5.0), NO_LIMITS, []),
        (seen(oldest_due=600.0), Limits(max_age=600), []),
        (seen(oldest_due=600.1), Limits(max_age=600), ["age"]),
        (seen(oldest_due=0.1), Limits(max_age=0), ["age"]),
        (seen(workers=[], oldest_due=601.0), Limits(max_age=600), ["workers", "age"]),
        (WELL, Limits(max_dead=3), []),
        (WELL, Limits(max_dead=2), ["dead"]),
        (WELL, Limits(max_dead=0), ["dead"]),
        (room(free_bytes=GIB), NO_LIMITS, []),
        (room(free_bytes=GIB - 1), NO_LIMITS, ["disk"]),
        (room(free_inodes=10), NO_LIMITS, []),
        (room(free_inodes=9), NO_LIMITS, ["inodes"]),
        (room(free_inodes=0, inodes=0), NO_LIMITS, []),
        (WELL, Limits(min_free_part=0.51), ["disk"]),
        (WELL, Limits(min_inodes_part=0.51), ["inodes"]),
        (WELL, Limits(min_free_part=0, min_free_bytes=50 * GIB), []),
        (WELL, Limits(min_free_part=0, min_free_bytes=50 * GIB + 1), ["disk"]),
        (seen(damage=["a", "b"]), NO_LIMITS, ["spool", "spool"]),
        (seen(settings_problem="broken"), NO_LIMITS, ["settings"]),
        (seen(lock_problem="none"), NO_LIMITS, ["lock"]),
        (Snapshot(spool="/spool", damage=["gone"]), NO_LIMITS, ["spool"]),
    ],
)
def test_the_decision(snapshot: Snapshot, limits: Limits, expected: list[str]) -> None:
    assert [found.check for found in judge(snapshot, limits)] == expected


@pytest.mark.parametrize(
    ("snapshot", "limits", "words"),
    [
        (seen(workers=[], oldest_due=185.0), NO_LIMITS, "jobs are due (the oldest for 3m05s)"),
        (
            seen(workers=[], oldest_due=5.0, abandoned=1),
            NO_LIMITS,
            "(the oldest for 5.0s) and 1 job is claimed by dead workers",
        ),
        (
            seen(workers=[], abandoned=2),
            NO_LIMITS,
            "no worker is running, but 2 jobs are claimed by dead workers",
        ),
        (seen(oldest_due=601.0), Limits(max_age=600), "due for 10m01s, more than 10m00s"),
        (seen(jobs={"dead": 1}), Limits(max_dead=0), "1 dead job, more than 0"),
        (room(free_bytes=GIB // 2), NO_LIMITS, "512.0 MiB free on the disk, less than 1.0 GiB"),
        (room(free_inodes=9), NO_LIMITS, "9 inodes free, less than 10"),
    ],
)
def test_the_reason_tells_the_numbers(snapshot: Snapshot, limits: Limits, words: str) -> None:
    (found,) = judge(snapshot, limits)
    assert words in found.reason


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (GIB, "1.0 GiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert health.format_size(size) == text


# -- observing -------------------------------------------------------------------------------


def make_old(queue: Queue, job_id: str, seconds: float) -> None:
    path = queue.spool.reader.find_exactly(job_id).path
    then = clock.now() - seconds
    os.utime(path, (then, then))


class TestAge:
    def test_of_an_empty_queue_there_is_none(self, queue: Queue) -> None:
        found = health.observe(queue.path)
        assert (found.oldest_due, found.next_run) == (None, None)

    def test_it_is_that_of_the_oldest_due_job(self, queue: Queue) -> None:
        for job_id, age in (("a", 100.0), ("b", 50.0)):
            queue.enqueue("true", id=job_id)
            make_old(queue, job_id, age)
        assert health.observe(queue.path).oldest_due == pytest.approx(100, abs=5)

    def test_a_job_for_later_is_not_due_however_old(self, queue: Queue) -> None:
        queue.enqueue("true", id="later", delay=300)
        make_old(queue, "later", 1000)
        found = health.observe(queue.path)
        assert found.oldest_due is None
        assert found.next_run == pytest.approx(300, abs=5)

    def test_a_job_whose_time_has_come_is_due_since_then(self, queue: Queue) -> None:
        stamp = clock.format_timestamp(clock.now() - 60)
        queue.enqueue("true", id="come", run_at=stamp)
        make_old(queue, "come", 1000)
        assert health.observe(queue.path).oldest_due == pytest.approx(60, abs=5)

    def test_an_invalid_file_is_due_after_the_quiet_period(self, queue: Queue) -> None:
        Path(queue.spool.layout.entry("pending", "bad.json")).write_text("{")
        assert health.observe(queue.path).oldest_due is None
        make_old(queue, "bad", 60)
        assert health.observe(queue.path).oldest_due == pytest.approx(60, abs=5)

    def test_of_too_many_to_read_the_oldest_are_read(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "MOST_READS", 4)
        queue.enqueue_many([{"command": "true", "id": f"j{n}"} for n in range(20)])
        make_old(queue, "j13", 100)
        read: list[str] = []
        original = health._due_at

        def due_at(spool: Any, path: str, *rest: Any) -> float | None:
            read.append(path)
            return original(spool, path, *rest)

        monkeypatch.setattr(health, "_due_at", due_at)
        assert health.observe(queue.path).oldest_due == pytest.approx(100, abs=5)
        assert len(set(read)) == 4


def test_a_lock_that_does_not_exclude_is_found(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.observe(queue.path, with_tests=True).lock_problem is None
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    problem = health.observe(queue.path, with_tests=True).lock_problem
    assert problem is not None
    assert "lets two hold one lock" in problem


def test_a_lock_that_cannot_be_taken_is_found(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    problem = health.observe(queue.path, with_tests=True).lock_problem
    assert problem is not None
    assert "No locks available" in problem


def test_the_test_of_locks_leaves_nothing_behind(queue: Queue) -> None:
    health.observe(queue.path, with_tests=True)
    assert os.listdir(queue.spool.layout.tmp) == []


def test_without_tests_nothing_is_changed(queue: Queue, bytes_of: Any) -> None:
    queue.enqueue("true")
    before = bytes_of()
    health.observe(queue.path)
    assert bytes_of() == before

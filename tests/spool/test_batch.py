"""A batch: in its order, all or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.disk import durable, renames
from queuectl.disk.durable import Disk
from queuectl.disk.filesystem import FileSystem
from queuectl.errors import IdTaken, InvalidJob

JOBS = [{"command": "true", "id": f"job{number}"} for number in range(5)]


@pytest.fixture
def nothing(root: Path, stands: Callable[[], list[str]]) -> Iterator[None]:
    """Nothing is left of a batch that failed."""
    yield
    assert [name for name in stands() if name != "pending/taken.json"] == []
    assert not [*(root / "tmp").iterdir()]


def test_a_batch_is_returned_and_run_in_its_order(
    queue: Queue, root: Path, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    numbers = [*range(20)]
    queue.enqueue_many({"command": f"echo {n} >> {tmp_path}/order"} for n in numbers)
    drain(queue, slots=1)
    assert [int(line) for line in (tmp_path / "order").read_text().split()] == numbers


@pytest.mark.parametrize("tick", range(5))
def test_each_job_of_a_batch_is_younger_than_the_one_before(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, tick: int
) -> None:
    now = 1_800_000_000.0 + tick * 2**-22  # the next five that a float can tell apart
    monkeypatch.setattr(clock, "now", lambda: now)
    ids = queue.enqueue_many({"command": "true"} for _ in range(50))
    created = [str(queue.get(job_id).job.created_at) for job_id in ids]
    assert created == sorted(set(created))


def test_an_empty_batch_is_no_job(queue: Queue) -> None:
    assert queue.enqueue_many([]) == []


def test_progress_is_told_after_each(queue: Queue) -> None:
    told: list[int] = []
    queue.enqueue_many(JOBS, progress=told.append)
    assert told == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("nothing")
def test_a_bad_job_ends_the_batch_and_is_named(queue: Queue) -> None:
    with pytest.raises(InvalidJob, match="job 6: command"):
        queue.enqueue_many([*JOBS, {"command": ""}])


@pytest.mark.usefixtures("nothing")
def test_a_taken_id_ends_the_batch(queue: Queue) -> None:
    queue.enqueue("true", id="taken")
    with pytest.raises(IdTaken, match="taken"):
        queue.enqueue_many([*JOBS, {"command": "true", "id": "taken"}])


@pytest.mark.usefixtures("nothing")
def test_an_id_that_stands_twice_ends_the_batch(queue: Queue) -> None:
    with pytest.raises(IdTaken, match="the input has two jobs with the id job3"):
        queue.enqueue_many([*JOBS, {"command": "true", "id": "job3"}])


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("which", [1, 3, 5])
@pytest.mark.parametrize("where", ["write", "rename"])
def test_a_disk_that_is_full_ends_the_batch(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, where: str, which: int
) -> None:
    owner, name = (os, "write") if where == "write" else (renames, "exclusive")
    call, calls = getattr(owner, name), iter(range(1, 99))

    def refuse(*args: Any) -> Any:
        if next(calls) == which:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*args)

    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(OSError, match="No space left"):
        queue.enqueue_many(JOBS)


@pytest.mark.usefixtures("nothing")
def test_an_input_that_breaks_off_ends_the_batch(queue: Queue) -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield from JOBS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.enqueue_many(broken())


def test_of_two_batches_with_one_common_id_one_succeeds_whole(
    queue: Queue, at_once: Callable[..., list[Any]]
) -> None:
    results = at_once(_batch, [(queue.path, name) for name in "abcd"])
    assert results.count(IdTaken) == 3
    assert queue.spool.reader.counts()["pending"] == 4


def _batch(path: str, name: str) -> list[str]:
    ids = [f"{name}1", f"{name}2", "common", f"{name}3"]
    return Queue(path).enqueue_many({"command": "true", "id": job_id} for job_id in ids)


@pytest.mark.parametrize("as_one", [True, False], ids=["one syncfs", "file by file"])
def test_a_batch_reaches_the_disk_before_it_is_acknowledged(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, as_one: bool
) -> None:
    steps: list[str] = []
    rename = renames.exclusive

    def renamed(source: str, target: str) -> None:
        rename(source, target)
        steps.append("rename")

    def synced(_: Disk, path: str, flags: int) -> None:
        steps.append("sync a directory" if flags & os.O_DIRECTORY else "sync a file")

    monkeypatch.setattr(renames, "exclusive", renamed)
    monkeypatch.setattr(durable, "_sync_file_system", lambda _: steps.append("sync all files"))
    monkeypatch.setattr(Disk, "_sync_path", synced)
    queue.spool.disk.on = FileSystem(syncs_as_one=as_one)
    queue.enqueue_many([{"command": "true"}, {"command": "true"}])
    first = ["sync all files"] if as_one else ["sync a file"] * 2
    assert steps == [*first, "rename", "rename", "sync a directory"]

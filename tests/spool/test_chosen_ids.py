"""An id that was acknowledged stays with its job, whatever other files ask for."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, slot_lock
from queuectl.disk.locks import locked
from queuectl.errors import IdsBusy, NoSuchJob, TimedOut
from queuectl.spool import claims
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.reader import Reader
from queuectl.worker.worker import Worker


@pytest.fixture
def take(queue: Queue) -> Iterator[Callable[[str], str]]:
    """Claim a waiting file; return the id that it is claimed under."""
    with Holder(queue.spool) as holder:

        def claim(name: str) -> str:
            seen = queue.spool.reader.look("pending", name)
            assert isinstance(seen, Ready)
            claimed = queue.spool.claims.take(holder.name, "pending", name, seen)
            assert claimed is not None
            return claimed.id

        yield claim


def test_a_dropped_file_does_not_take_the_id_of_an_enqueued_job(
    queue: Queue, drop: Callable[..., Path], take: Callable[[str], str]
) -> None:
    drop("foo.json", '{"id": "bar", "command": "true"}')
    queue.enqueue("true", id="bar")
    assert take("foo.json") == "bar.2"
    assert take("bar.json") == "bar"


def test_a_number_is_not_the_id_of_an_enqueued_job(
    queue: Queue, drop: Callable[..., Path], take: Callable[[str], str]
) -> None:
    drop("bar.json", state="done")
    drop("bar.json")
    queue.enqueue("true", id="bar.2")
    assert take("bar.json") == "bar.3"
    assert take("bar.2.json") == "bar.2"


def test_a_file_that_needs_another_name_waits_while_an_id_is_chosen(
    queue: Queue,
    drop: Callable[..., Path],
    take: Callable[[str], str],
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the look of an `enqueue --id bar` and its publishing, nobody else takes bar."""
    monkeypatch.setattr(claims, "_PATIENCE", 0)
    drop("foo.json", '{"id": "bar", "command": "true"}')
    drop("baz.json", '{"id": "baz", "command": "true"}')
    lock = os.open(queue.spool.layout.id_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(IdsBusy):
        take("foo.json")
    assert stands() == ["pending/baz.json", "pending/foo.json"]
    assert take("baz.json") == "baz"
    os.close(lock)
    assert take("foo.json") == "bar"


def test_a_dropped_job_is_found_by_the_id_inside_and_by_its_file_name(
    queue: Queue, drop: Callable[..., Path]
) -> None:
    path = drop("foo.json", '{"id": "bar", "command": "true"}')
    assert (queue.get("bar").id, queue.get("bar").path) == ("bar", str(path))
    assert queue.get("foo").path == str(path)
    with pytest.raises(TimedOut):
        queue.wait(["bar"], timeout=0)
    with pytest.raises(NoSuchJob):
        queue.get("bar", exact=True)


@pytest.mark.parametrize("said", ["foo", "bar"])
def test_a_cancelled_file_keeps_the_id_inside(
    queue: Queue, drop: Callable[..., Path], stands: Callable[[], list[str]], said: str
) -> None:
    drop("foo.json", '{"id": "bar", "command": "true"}')
    assert queue.cancel(said) == "dead"
    assert stands() == ["dead/bar.json"]
    assert queue.get("bar").job.id == "bar"


def test_wait_follows_a_dropped_job_to_its_end(
    queue: Queue, drop: Callable[..., Path], work: Callable[..., object]
) -> None:
    drop("foo.json", '{"id": "bar", "command": "true"}')

    def wait(worker: Worker) -> None:
        assert queue.wait(["bar"], timeout=20) == {"bar": "completed"}
        worker.stop()

    work(queue, wait)


def test_a_slot_that_waits_to_choose_an_id_lets_the_one_that_chooses_go_on(
    queue: Queue,
    drop: Callable[..., Path],
    eventually: Callable[..., Any],
    take: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first slot releases the slot lock while it waits for the lock on ids, the second gets it
    and waits for the first: each would wait for the other for good.
    """
    for name in ("a", "b"):
        drop(f"{name}.json", state="done")
        drop(f"{name}.json")
    entered: list[str] = []
    ids: list[str] = []
    look = Reader.look

    def noted(reader: Reader, state: Any, name: str) -> Any:
        entered.append(name)
        return look(reader, state, name)

    def slot(name: str) -> None:
        with slot_lock.held():
            ids.append(take(name))

    monkeypatch.setattr(claims, "_PATIENCE", 20)
    monkeypatch.setattr(Reader, "look", noted)
    slots = [threading.Thread(target=slot, args=(f"{n}.json",), daemon=True) for n in "ab"]
    with locked(queue.spool.layout.id_lock, 0o600):
        for number, thread in enumerate(slots, 1):
            thread.start()
            eventually(lambda: len(entered) == number)  # noqa: B023 - called at once
    for thread in slots:
        thread.join(20)
    assert sorted(ids) == ["a.2", "b.2"]

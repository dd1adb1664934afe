"""Publishing: whole, durable, never over another job, and under an id of its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk import locks, renames
from queuectl.disk.locks import is_locked
from queuectl.errors import IdTaken, NotDurable, QueuectlError
from queuectl.spool import publish
from queuectl.spool.layout import DIRECTORIES
from queuectl.spool.spool import Spool

STATES = ["pending", "failed", "completed", "dead"]


def _enqueue(path: str, job_id: str) -> str:
    return Queue(path).enqueue("true", id=job_id)


def test_a_job_is_one_file_in_pending(
    queue: Queue, root: Path, stands: Callable[[], list[str]]
) -> None:
    job_id = queue.enqueue("true")
    assert stands() == [f"pending/{job_id}.json"]
    assert not [*(root / "tmp").iterdir()]
    assert json.loads((root / stands()[0]).read_bytes())["id"] == job_id


@pytest.mark.parametrize("state", STATES)
def test_an_id_that_stands_in_any_state_is_refused(
    queue: Queue, drop: Callable[..., Path], stands: Callable[[], list[str]], state: Any
) -> None:
    drop("a.json", state=DIRECTORIES[state])
    with pytest.raises(IdTaken, match=f"a exists already .{state}"):
        queue.enqueue("true", id="a")
    assert stands() == [f"{DIRECTORIES[state]}/a.json"]


def test_the_id_of_a_job_that_runs_is_refused(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    def enqueue_again(worker: Any) -> None:
        eventually(lambda: queue.get("a").state == "processing")
        with pytest.raises(IdTaken, match="processing"):
            queue.enqueue("true", id="a")
        worker.stop_now()

    queue.enqueue("sleep 1000", id="a")
    work(queue, enqueue_again)


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_an_id_is_refused_though_its_job_is_claimed_while_we_look(
    queue: Queue, spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    queue.enqueue("true", id="a")
    (root / "pending" / "a.json").rename(root / state / "a.json")
    (root / "processing" / "other").mkdir()
    claims_of = spool.reader.claims_of

    def then_claimed(job_id: str) -> Any:
        found = claims_of(job_id)
        if (root / state / "a.json").exists():
            (root / state / "a.json").rename(root / "processing" / "other" / "a.1.json")
        return found

    monkeypatch.setattr(spool.reader, "claims_of", then_claimed)
    with pytest.raises(IdTaken):
        queue.enqueue("true", id="a")


@pytest.mark.parametrize("attempt", range(5))
def test_of_eight_who_enqueue_one_id_at_once_one_succeeds(
    queue: Queue,
    at_once: Callable[..., list[Any]],
    stands: Callable[[], list[str]],
    attempt: int,
) -> None:
    results = at_once(_enqueue, [(queue.path, "same")] * 8)
    assert (results.count("same"), results.count(IdTaken)) == (1, 7)
    assert stands() == ["pending/same.json"]


def test_one_of_eight_succeeds_while_a_worker_takes_the_jobs_away(
    queue: Queue, work: Callable[..., Any], at_once: Callable[..., list[Any]]
) -> None:
    winners: list[int] = []

    def enqueue(worker: Any) -> None:
        for number in range(10):
            results = at_once(_enqueue, [(queue.path, f"job{number}")] * 8)
            winners.append(results.count(f"job{number}"))
        queue.wait([f"job{number}" for number in range(10)], timeout=20)
        worker.stop()

    work(queue, enqueue)
    assert winners == [1] * 10
    assert queue.spool.reader.counts()["completed"] == 10


@pytest.mark.parametrize("how", ["alone", "in a batch"])
def test_a_chosen_id_is_looked_for_and_published_under_one_lock(
    queue: Queue, spool: Spool, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    steps: list[str] = []

    def watched(step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def then(*args: Any) -> Any:
            steps.append(f"{step}, {'locked' if is_locked(spool.layout.id_lock) else 'free'}")
            return call(*args)

        return then

    monkeypatch.setattr(publish, "_refuse_taken", watched("look", publish._refuse_taken))
    for name in ("publish", "publish_many"):
        monkeypatch.setattr(spool.disk, name, watched("publish", getattr(spool.disk, name)))
    if how == "alone":
        queue.enqueue("true", id="a")
    else:
        queue.enqueue_many([{"command": "true", "id": "a"}, {"command": "true"}])
    assert steps == ["look, locked", "publish, locked"]
    assert not is_locked(spool.layout.id_lock)


def test_publishing_never_overwrites_a_file_that_is_dropped_meanwhile(
    queue: Queue,
    spool: Spool,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    either_rename: str,
) -> None:
    def drop_meanwhile(*_: object) -> None:
        (root / "pending" / "a.json").write_text("theirs")

    monkeypatch.setattr(publish, "_refuse_taken", drop_meanwhile)
    with pytest.raises(IdTaken):
        queue.enqueue("true", id="a")
    assert (root / "pending" / "a.json").read_text() == "theirs"
    assert not [*(root / "tmp").iterdir()]


def test_short_writes_are_no_error(
    queue: Queue, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    queue.enqueue("true", id="a", extra={"note": "x" * 500})
    assert json.loads((root / "pending" / "a.json").read_bytes())["note"] == "x" * 500


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("where", ["write", "rename"])
def test_a_disk_that_refuses_leaves_nothing_half_visible(
    queue: Queue,
    root: Path,
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    code: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    owner, name = (os, "write") if where == "write" else (renames, "exclusive")
    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        queue.enqueue("true", id="a")
    monkeypatch.undo()
    assert not stands()
    assert not [*(root / "tmp").iterdir()]


def test_a_job_that_cannot_be_made_durable_is_not_acknowledged(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(NotDurable):
        queue.enqueue("true")


def test_file_then_name_reach_the_disk_before_it_is_acknowledged(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, publish = os.fsync, renames.exclusive

    def synced(fd: int) -> None:
        fsync(fd)
        steps.append("sync " + os.readlink(f"/proc/self/fd/{fd}").split("/")[-2:][0])

    def renamed(source: str, target: str) -> None:
        publish(source, target)
        steps.append("rename")

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only /proc tells what a descriptor stands for")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(renames, "exclusive", renamed)
    queue.enqueue("true")
    assert steps == ["sync tmp", "rename", "sync spool"]


def test_without_fsync_nothing_is_synced(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.set_setting("fsync", "false")
    careless = Queue(queue.path)

    def refuse(_: int) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr(os, "fsync", refuse)
    careless.enqueue("true")


# -- a lock that is not released -----------------------------------------------------------------


@pytest.fixture
def stopped_holder() -> Iterator[Callable[[str], int]]:
    """Let a process lock a file and stop; return its id."""
    code = "import fcntl, os, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, 2); "
    code += "os.kill(os.getpid(), 19)"
    with contextlib.ExitStack() as ending:

        def make(path: str) -> int:
            process = ending.enter_context(subprocess.Popen([sys.executable, "-c", code, path]))
            ending.callback(process.kill)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            return process.pid

        yield make


CHANGES: dict[str, Callable[[Queue], object]] = {
    "pending/.lock": lambda queue: queue.enqueue("true", id="a"),
    "./pending/.lock": lambda queue: queue.enqueue_many([{"command": "true", "id": "a"}]),
    "queue.toml.lock": lambda queue: queue.set_setting("max_retries", "7"),
}


@pytest.mark.parametrize("lock", CHANGES)
def test_a_process_that_is_stopped_with_a_lock_is_not_waited_for_without_limit(
    queue: Queue,
    root: Path,
    stopped_holder: Callable[[str], int],
    bytes_of: Callable[[], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    lock: str,
) -> None:
    monkeypatch.setattr(locks, "LONGEST_WAIT", 0.05)
    before = bytes_of()
    pid = stopped_holder(f"{root}/{lock}")

    with pytest.raises(QueuectlError, match=f"by process {pid}, which is stopped") as caught:
        CHANGES[lock](queue)

    assert f"{root}/{Path(lock)} has been locked for 0.05 s" in str(caught.value)
    assert caught.value.exit_code == 1
    assert bytes_of() == before
    assert not [*(root / "tmp").iterdir()]


def test_a_lock_that_is_released_meanwhile_is_taken(
    queue: Queue, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = os.open(root / "pending" / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            os.close(held)

    monkeypatch.setattr(time, "sleep", pause)
    queue.enqueue("true", id="a")

    assert len(pauses) == 8
    assert (pauses[0], pauses[-1]) == (0.001, 0.05)


def test_a_holder_that_the_kernel_does_not_list_is_not_guessed(
    queue: Queue, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = os.open(root / "pending" / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(locks, "LONGEST_WAIT", 0.0)
    monkeypatch.setattr(os, "major", lambda _: 0xABCDEF)  # as on btrfs

    with pytest.raises(QueuectlError, match="a process that cannot be seen from here"):
        queue.enqueue("true", id="a")
    os.close(held)

"""A disk that refuses: the job is kept, its command does not run again, and the worker goes on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, slot_lock
from queuectl.disk.durable import Disk
from queuectl.disk.filesystem import FileSystem
from queuectl.errors import NotDurable
from queuectl.spool.claims import Claims
from queuectl.view.observer import NO_OBSERVER
from queuectl.worker import attempt, pauses
from queuectl.worker.hooks import Hooks
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.intake import Intake

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BROKEN = NotDurable("cannot be made durable: Input/output error")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE", 0.005)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Let a function fail at its first `times` calls for which `when` is true; return the calls."""

    def install(
        owner: Any,
        name: str,
        error: Exception,
        times: int = 1,
        when: Callable[..., bool] = lambda *_: True,
        after: bool = False,
    ) -> list[Any]:
        call = getattr(owner, name)
        refused: list[Any] = []

        def refusing(*args: Any, **options: Any) -> Any:
            if len(refused) < times and when(*args):
                refused.append(args)
                if after:
                    call(*args, **options)
                raise error
            return call(*args, **options)

        monkeypatch.setattr(owner, name, refusing)
        return refused

    return install


@pytest.fixture
def counted(queue: Queue, tmp_path: Path) -> Callable[[], int]:
    """Enqueue a job that counts its runs; return how often it has run."""
    queue.enqueue(f"echo x >> {tmp_path}/runs", id="a")
    return lambda: len((tmp_path / "runs").read_text().split())


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Claims, "settle"), (Disk, "renew"), (Disk, "move"), (Disk, "write")],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["full", "not durable"])
def test_a_settle_that_fails_is_tried_again_without_another_run(
    queue: Queue,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    owner: Any,
    name: str,
    error: Exception,
) -> None:
    def done(*args: Any) -> bool:
        return any("processing" in str(arg) or "Claim" in str(arg) for arg in args)

    when = done if name in ("settle", "renew", "move") else lambda *_: bool(_ran(queue))
    refused = refuse(owner, name, error, times=3, when=when)
    drain(queue)
    assert len(refused) == 3
    found = queue.get("a")
    assert (found.state, counted(), len(found.job.history)) == ("completed", 1, 1)


def _ran(queue: Queue) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(queue.path), "runs"))


@pytest.mark.parametrize(("command", "state"), [("true", "completed"), ("exit 1", "dead")])
@pytest.mark.parametrize("directory", ["done", "failed", "dead", "processing/"])
def test_a_settled_job_whose_move_is_not_durable_stays_settled(
    queue: Queue,
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    command: str,
    state: str,
    directory: str,
) -> None:
    queue.enqueue(command, id="a", max_retries=1)

    def moved(_: Disk, *paths: str) -> bool:
        if paths[-1].endswith("/processing"):  # a worker that starts
            return False
        return any(f"/{directory}" in path for path in paths) and not _claims(queue)

    refuse(Disk, "commit", BROKEN, when=moved)
    drain(queue)
    found = queue.get("a")
    assert (found.state, len(found.job.history)) == (state, 1 if command == "true" else 2)


def _claims(queue: Queue) -> bool:
    return any(True for _ in queue.spool.reader.claims())


def _is_of_a_claim(_: Disk, *paths: str) -> bool:
    return any("/pending" in path for path in paths)


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["full", "not durable"])
@pytest.mark.parametrize("name", ["take", "commit"])
def test_a_claim_that_fails_is_tried_again(
    queue: Queue,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    name: str,
    error: Exception,
) -> None:
    refused = refuse(Disk, name, error, times=2, when=_is_of_a_claim)
    drain(queue)
    assert (len(refused), queue.get("a").state, counted()) == (2, "completed", 1)


@pytest.mark.parametrize("name", ["make_locked", "_start"])
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE])
def test_a_start_that_the_machine_refuses_is_tried_again_and_not_counted(
    queue: Queue,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    name: str,
    code: int,
) -> None:
    refuse(attempt, name, OSError(code, os.strerror(code)), times=2)
    drain(queue)
    found = queue.get("a")
    assert (found.state, counted(), len(found.job.history)) == ("completed", 1, 1)


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["full", "not durable"])
def test_a_job_that_can_be_neither_started_nor_put_back_runs_later(
    queue: Queue,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    error: Exception,
) -> None:
    refuse(attempt, "make_locked", FULL)
    refuse(Claims, "release", error)
    drain(queue, deadline=10)
    assert (queue.get("a").state, counted()) == ("completed", 1)


@pytest.mark.parametrize("outcome", ["cancelled", "ok"])
def test_a_job_that_was_put_back_by_hand_and_cannot_be_started_runs_later(
    queue: Queue,
    root: Path,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    outcome: str,
) -> None:
    """What became of its earlier attempt says nothing about the one that is still to come."""
    if outcome == "cancelled":
        queue.cancel("a")
        queue.retry("a")
    else:
        drain(queue, deadline=10)
        (root / "done" / "a.json").rename(root / "pending" / "a.json")
    refuse(attempt, "make_locked", FULL)
    refuse(Claims, "release", FULL)
    drain(queue, deadline=10)
    assert (queue.get("a").state, counted()) == ("completed", 2 if outcome == "ok" else 1)


def test_a_claim_that_can_be_neither_committed_nor_put_back_runs_later(
    queue: Queue,
    counted: Callable[[], int],
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
) -> None:
    refuse(Disk, "commit", BROKEN, when=_is_of_a_claim)
    refuse(Disk, "move", FULL)
    drain(queue, deadline=10)
    assert (queue.get("a").state, counted()) == ("completed", 1)


def test_a_job_that_cannot_be_put_back_at_a_stop_ends_no_slot(
    queue: Queue,
    refuse: Callable[..., list[Any]],
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = Claims.take

    def claim_and_stop(claims: Claims, name: str, *args: Any) -> Any:
        claimed = claim(claims, name, *args)
        eventually(lambda: found)
        found[0].stop()
        return claimed

    found: list[Any] = []
    refuse(Claims, "release", BROKEN)
    queue.enqueue("true", id="a")
    monkeypatch.setattr(Claims, "take", claim_and_stop)
    work(queue, found.append, slots=1)
    assert queue.get("a").state in ("pending", "processing")


def test_no_job_is_taken_while_another_cannot_be_settled(
    queue: Queue,
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    claim, settle = Claims.take, Claims.settle

    def noted_claim(claims: Claims, *args: Any) -> Any:
        order.append("claim")
        return claim(claims, *args)

    def noted_settle(claims: Claims, *args: Any, **options: Any) -> Any:
        try:
            kept = settle(claims, *args, **options)
        except OSError:
            order.append("refused")
            raise
        order.append("settled")
        return kept

    refuse(Disk, "renew", FULL, times=3)
    monkeypatch.setattr(Claims, "take", noted_claim)
    monkeypatch.setattr(Claims, "settle", noted_settle)
    for _ in range(3):
        queue.enqueue("true")
    drain(queue, slots=1)
    assert order == ["claim", *["refused"] * 3, "settled", *["claim", "settled"] * 2]


def test_no_other_slot_takes_a_job_during_the_next_try_to_settle(
    queue: Queue,
    tmp_path: Path,
    drain: Callable[..., Any],
    eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other slot waits for the end of the pause, and must wait for the end of the trouble."""
    tries: list[str] = []
    taken: list[tuple[str, int]] = []
    take, renew = Claims.take, Disk.renew

    def noted_take(claims: Claims, worker: str, state: Any, name: str, *more: Any) -> Any:
        taken.append((name, len(tries)))
        return take(claims, worker, state, name, *more)

    def full_twice(disk: Disk, path: str, data: bytes, *, staged: str) -> None:
        if "/a.1.json" in path and len(tries) < 3:
            tries.append(path)
            with slot_lock.released():
                if len(tries) == 1:
                    eventually((tmp_path / "b-runs").exists)
                else:
                    (tmp_path / "b-may-end").touch()
                    eventually(lambda: queue.get("b").state == "completed")
                    threading.Event().wait(0.2)  # time to do the wrong thing
            raise FULL
        renew(disk, path, data, staged=staged)

    queue.enqueue("true", id="a", priority=1)
    wait = "while [ ! -e b-may-end ]; do sleep 0.01; done"
    queue.enqueue(f"touch b-runs; {wait}", id="b", cwd=tmp_path)
    queue.enqueue("true", id="c", priority=-1)
    monkeypatch.setattr(Claims, "take", noted_take)
    monkeypatch.setattr(Disk, "renew", full_twice)
    drain(queue)
    assert ("c.json", 3) in taken
    assert not [name for name, tried in taken if name == "c.json" and tried < 3]


def test_a_cancel_after_the_end_of_a_failed_command_cancels_the_job(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = attempt.run

    def then_cancel(*args: Any) -> Any:
        entry = run(*args)
        assert queue.cancel("a") == "processing"
        return entry

    monkeypatch.setattr(attempt, "run", then_cancel)
    queue.enqueue("exit 1", id="a", max_retries=1)
    drain(queue)
    found = queue.get("a")
    assert (found.state, len(found.job.history)) == ("dead", 1)


def test_a_file_that_could_not_be_looked_at_is_looked_at_again(
    queue: Queue, root: Path, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.enqueue("true", id="a")
    queue.set_setting("rescan_interval", "0.1")
    assert queue.settings.rescan_interval == 0.1  # read, so that the housekeeper uses it
    os.utime(
        root / "pending", (1_000_000_000,) * 2
    )  # the directory looks as if it had not changed for long
    looks: list[str] = []
    monkeypatch.setattr(Intake, "look", lambda _, __, name: looks.append(name))
    monkeypatch.setattr(Intake, "read_ahead", lambda _: iter(()))
    monkeypatch.setattr(Intake, "knows", lambda *_: False)
    hooks = Hooks(queue.spool, "w", 1, changed=lambda: None)
    keeper = Housekeeper(
        Intake(queue.spool, hooks),
        NO_OBSERVER,
        each_round=lambda: True,
        overflowed=threading.Event(),
    )
    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        eventually(lambda: len(looks) >= 2)
    finally:
        keeper.close()
        thread.join()


def test_a_worker_with_broken_settings_keeps_the_last_good_ones(
    queue: Queue, root: Path, work: Callable[..., Any]
) -> None:
    def break_them(worker: Any) -> None:
        (root / "queue.toml").write_text("max_retries = oops\n")
        queue.wait([queue.enqueue("true")], timeout=20)
        worker.stop()

    assert work(queue, break_them).tally.ok == 1


@pytest.mark.parametrize("has_one_log", [False, True])
def test_a_settled_job_is_committed_before_the_next_command_starts(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, has_one_log: bool
) -> None:
    order: list[str] = []
    commit, start = Disk.commit, attempt._start

    def noted_commit(disk: Disk, *paths: str) -> None:
        commit(disk, *paths)
        order.extend(os.path.basename(path) for path in paths if path.endswith(("done", "pending")))

    def noted_start(*args: Any) -> Any:
        order.append("start")
        return start(*args)

    for _ in range(3):
        queue.enqueue("true")
    queue.spool.disk.on = FileSystem(has_one_log=has_one_log)
    monkeypatch.setattr(Disk, "commit", noted_commit)
    monkeypatch.setattr(attempt, "_start", noted_start)
    drain(queue, slots=1)
    assert order == ["pending", "start", *["done", "pending", "start"] * 2, "done"]


def test_a_failed_commit_of_a_settle_and_the_next_claim_is_logged(
    queue: Queue,
    refuse: Callable[..., list[Any]],
    drain: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a", "b"):
        queue.enqueue("true", id=name)

    def both(_: Disk, *paths: str) -> bool:
        return any(path.endswith("/done") for path in paths) and _is_of_a_claim(_, *paths)

    queue.spool.disk.on = FileSystem(has_one_log=True)

    refused = refuse(Disk, "commit", BROKEN, when=both)
    drain(queue, slots=1)
    assert (len(refused), queue.status().jobs["completed"]) == (1, 2)
    assert "job a is settled, but cannot be made durable" in caplog.text

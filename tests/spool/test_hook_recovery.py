"""Hooks that outlive their worker, and events that do not take place at once or at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.hooks import TELL

from queuectl import Queue
from queuectl.disk.durable import Disk
from queuectl.record.hook_event import Marker
from queuectl.record.job import Attempt
from queuectl.spool import hook_markers, hook_recovery, integrity
from queuectl.spool.claims import Claims
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.recovery import recover
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool
from queuectl.worker.worker import Worker


def test_a_worker_that_stops_lets_its_hooks_end(
    queue: Queue, root: Path, tmp_path: Path, work: Callable[..., Any]
) -> None:
    queue.set_setting("on_done", f"sleep 0.3; {TELL} {tmp_path}/told")
    ids = [queue.enqueue("true") for _ in range(4)]

    def stop(worker: Worker) -> None:
        queue.wait(ids, timeout=20)
        worker.stop()

    work(queue, stop)
    assert len((tmp_path / "told").read_text().split()) == 8
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


@pytest.mark.parametrize("how", ["by call", "by a second signal", "by file"])
def test_hooks_of_a_worker_that_stops_now_are_run_by_the_next(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Any],
    drain: Callable[..., Any],
    eventually: Callable[..., Any],
    markers: Any,
    how: str,
) -> None:
    queue.set_setting("on_done", f"touch {tmp_path}/$QUEUECTL_JOB_ID.began; sleep 1000")
    for job_id in ("a", "b"):
        queue.enqueue("true", id=job_id)

    def stop(worker: Worker) -> None:
        queue.wait(["a", "b"], timeout=20)
        eventually(lambda: [*tmp_path.glob("*.began")])
        if how == "by call":
            worker.stop_now()
        elif how == "by file":
            worker.stop()
            eventually(lambda: not worker._slots.left)
            queue.stop_worker(worker.info.name, now=True)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(lambda: not worker._slots.left)
            os.kill(os.getpid(), signal.SIGTERM)

    work(queue, stop, slots=1)
    assert len(markers()) == 2
    queue.set_setting("on_done", f"{TELL} {tmp_path}/told")
    drain(queue)
    assert sorted((tmp_path / "told").read_text().splitlines()) == ["done a", "done b"]
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


def _claim(spool: Spool, holder: Holder, job_id: str) -> Any:
    sight = spool.reader.look("pending", f"{job_id}.json")
    assert isinstance(sight, Ready)
    return spool.claims.take(holder.name, "pending", f"{job_id}.json", sight)


def test_the_hook_of_a_lost_job_is_run_by_the_next_worker(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any], told: Any
) -> None:
    queue.enqueue("true", id="a", max_retries=0)
    holder = Holder(spool)
    _claim(spool, holder, "a")
    bury(holder)
    drain(queue)
    assert told() == ["dead a", "idle"]
    assert queue.get("a").job.last_attempt.outcome == "lost"


def test_the_hook_of_an_invalid_claim_is_run_by_the_next_worker(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any], told: Any
) -> None:
    queue.enqueue("true", id="a")
    holder = Holder(spool)
    Path(_claim(spool, holder, "a").path).write_text("{")
    bury(holder)
    drain(queue)
    assert told() == ["dead a", "idle"]


@pytest.mark.parametrize("held", ["ok", "failed"])
def test_a_job_that_a_dead_command_held_has_no_hook(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any],
    told: Any, held: Any,
) -> None:  # fmt: skip
    queue.enqueue("true" if held == "ok" else "false", id="a", max_retries=0)
    drain(queue)
    before = told()
    holder = Holder(spool)
    assert spool.claims.hold(holder.name, spool.reader.find("a"))
    bury(holder)
    drain(queue)
    assert told() == sorted([*before, "idle"])


def test_recovery_by_a_command_leaves_the_hooks_to_a_worker(
    queue: Queue,
    spool: Spool,
    bury: Callable[[Holder], None],
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    queue.enqueue("true", id="a", max_retries=0)
    holder = Holder(spool)
    _claim(spool, holder, "a")
    bury(holder)
    assert queue.settings.on_dead
    assert [f.damage for f in integrity.check(spool, repair=True)] == ["leftover claims"]
    (finding,) = integrity.check(spool, repair=True)
    assert "1 hooks to run" in finding.problem
    assert not finding.repaired
    assert queue.status().jobs["processing"] == 0
    recover(spool, grace=0, draw=0)
    assert len(markers()) == 1
    drain(queue)
    assert told() == ["dead a", "idle"]
    assert integrity.check(spool, repair=False) == []


def test_the_marker_of_a_claim_that_cannot_be_recovered_yet_stays(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], told: Any, markers: Any
) -> None:
    queue.enqueue("true", id="a")
    holder = Holder(spool)
    claim = _claim(spool, holder, "a")
    entry = Attempt(attempt=1, outcome="ok", worker=holder.name)
    record = claim.job.with_attempt(entry, attempts=1)
    assert hook_markers.put_for(spool, claim, record, "completed", spool.settings.current())
    bury(holder)

    class Nobody:
        worker = "w-1-0000"

        def inherit(self, names: list[str]) -> None:
            raise AssertionError(names)

    hook_recovery.take_over(spool, holder.name, Nobody())
    assert len(markers()) == 1


def test_an_unreadable_marker_does_not_stop_the_others(
    queue: Queue, root: Path, spool: Spool, bury: Callable[[Holder], None],
    drain: Callable[..., Any], told: Any, markers: Any,
) -> None:  # fmt: skip
    holder = Holder(spool)
    hooks = Path(spool.layout.hooks(holder.name))
    hooks.mkdir()
    (hooks / "torn.1.01234567.hook").write_bytes(b"")
    bury(holder)
    queue.enqueue("true", id="a")
    drain(queue)
    assert told() == ["done a", "idle"]
    assert markers() == []


def test_check_finds_a_stray_among_the_markers(queue: Queue, spool: Spool) -> None:
    with Holder(spool) as holder:
        hooks = Path(spool.layout.hooks(holder.name))
        hooks.mkdir(0o700)
        (hooks / "mine").touch()
        (hooks / "a.1.01234567.hook").touch(0o600)
        found = {f.path: f.damage for f in integrity.check(spool, repair=False)}
        assert found == {str(hooks / "mine"): "stray"}
        (hooks / "mine").unlink()
        (hooks / "a.1.01234567.hook").unlink()


def test_the_hook_runs_once_for_a_file_that_is_rejected_at_the_third_try(
    queue: Queue,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    drop: Callable[..., Path],
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    left = [3]

    def refuse(*args: Any, **options: Any) -> str | None:
        left[0] -= 1
        if left[0] > 0:
            raise OSError(28, "No space left on device")
        return reject(*args, **options)

    monkeypatch.setattr("queuectl.worker.intake.reject", refuse)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead broken"]
    assert markers() == []


def test_the_hook_runs_for_a_rejected_file_without_a_reason(
    queue: Queue, spool: Spool, monkeypatch: pytest.MonkeyPatch, drop: Callable[..., Path],
    drain: Callable[..., Any], told: Any,
) -> None:  # fmt: skip
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("queuectl.spool.reject.write_reason", refuse)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead broken"]


def test_the_hook_runs_once_for_an_outcome_that_is_written_at_the_third_try(
    queue: Queue,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    settle, left = spool.claims.settle, [3]

    def refuse(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] > 0:
            raise OSError(28, "No space left on device")
        return settle(*args, **options)

    monkeypatch.setattr(spool.claims, "settle", refuse)
    queue.enqueue("true", id="a")
    drain(queue)
    assert told() == ["done a", "idle"]
    assert markers() == []


def test_a_claim_that_was_moved_away_has_no_hook(
    queue: Queue,
    root: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    def take(worker: Worker) -> None:
        path = Path(eventually(lambda: (found := queue.get("a")).pid and found.path))
        path.rename(root / "dead" / "a.json")
        eventually(lambda: not worker._slots._shared.in_hand._running)
        worker.stop()

    queue.enqueue("sleep 0.5", id="a")
    work(queue, take)
    assert told() == []
    assert markers() == []


def test_the_removal_of_a_false_marker_is_on_disk_before_its_job_moves(
    queue: Queue,
    spool: Spool,
    bury: Callable[[Holder], None],
    markers: Any,
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue.enqueue("true", id="a")
    holder = Holder(spool)
    claim = _claim(spool, holder, "a")
    record = claim.job.with_attempt(Attempt(attempt=1, outcome="ok"), attempts=1)
    assert hook_markers.put_for(spool, claim, record, "completed", spool.settings.current())
    bury(holder)
    steps: list[Any] = []
    commit, settle = Disk.commit, Claims.settle

    def noted_commit(disk: Disk, *paths: str) -> None:
        commit(disk, *paths)
        if spool.layout.hooks(holder.name) in paths:
            steps.append(("on disk", len(markers())))

    def noted_settle(*args: Any) -> Any:
        steps.append("settle")
        return settle(*args)

    monkeypatch.setattr(Disk, "commit", noted_commit)
    monkeypatch.setattr(Claims, "settle", noted_settle)
    recover(spool, grace=0, draw=0)
    assert steps == [("on disk", 0), "settle"]


def test_markers_that_cannot_be_taken_over_stay_with_the_dead(
    queue: Queue,
    root: Path,
    spool: Spool,
    bury: Callable[[Holder], None],
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = Holder(spool)
    name = hook_markers.put(spool, holder.name, Marker(event="done", id="a", attempt=1))
    bury(holder)

    class Heir:
        worker = "w-1-0000"
        names: list[str]

        def inherit(self, names: list[str]) -> None:
            self.names = names

    def refuse(*_: object) -> None:
        raise OSError(28, "full")

    heir = Heir()
    (root / "processing" / heir.worker).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(spool.disk, "publish_many", refuse)
        with pytest.raises(OSError, match="full"):
            hook_recovery.take_over(spool, holder.name, heir)
    assert hook_markers.names(spool, holder.name) == [name]
    hook_recovery.take_over(spool, holder.name, heir)
    assert hook_markers.names(spool, holder.name) == []
    assert hook_markers.names(spool, heir.worker) == heir.names
    assert len(heir.names) == 1

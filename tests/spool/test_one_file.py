"""Trouble with one file: that file waits, and all other work goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk import renames
from queuectl.disk.durable import Disk
from queuectl.disk.locks import make_locked
from queuectl.disk.reading import same_file
from queuectl.spool import retention
from queuectl.spool.claims import Claims
from queuectl.worker import attempt, pauses, postponed
from queuectl.worker.pauses import Pauses
from queuectl.worker.worker import Worker

CODES = [errno.EBUSY, errno.EPERM, errno.EACCES]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(postponed, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(postponed, "LONGEST_PAUSE", 0.05)


class Stubborn:
    """Files that a step refuses to change until they are let go; it counts the tries."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.tries = 0
        self.is_free = False

    def check(self, path: str) -> None:
        if not self.is_free:
            self.tries += 1
            raise OSError(self.code, os.strerror(self.code), path)


@pytest.fixture(params=CODES, ids=errno.errorcode.get)
def stubborn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    """Refuse to rename the file `bad.json` out of `pending/` and to settle the job `bad`."""
    refused = Stubborn(request.param)
    for name in ("take", "move", "renew"):
        monkeypatch.setattr(Disk, name, _refusing(getattr(Disk, name), refused))
    return refused


def _refusing(call: Callable[..., Any], refused: Stubborn) -> Callable[..., Any]:
    def step(disk: Disk, path: str, *args: Any, **options: Any) -> Any:
        name = os.path.basename(path)
        if name == "bad.json" or (name == "stuck.1.json" and "processing" in path):
            refused.check(path)
        return call(disk, path, *args, **options)

    return step


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return why slots have paused, which holds up all others."""
    reasons: list[str] = []
    pause = Pauses.pause

    def noted(self: Pauses, slot: int, why: str, **more: bool) -> None:
        reasons.append(why)
        pause(self, slot, why, **more)

    monkeypatch.setattr(Pauses, "pause", noted)
    return reasons


def _others(queue: Queue) -> list[str]:
    return queue.enqueue_many([{"command": "true"}] * 10)


def test_a_file_that_cannot_be_claimed_waits_alone(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn,
    paused: list[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    queue.enqueue("true", id="bad", priority=9)

    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        queue.wait(_others(queue), timeout=20)
        assert queue.get("bad").state == "pending"
        stubborn.is_free = True
        queue.wait(["bad"], timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 11
    assert paused == []
    assert caplog.text.count("'bad.json' cannot be claimed: ") == 1


def test_a_drain_waits_for_a_file_that_cannot_be_claimed(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn
) -> None:
    queue.enqueue("true", id="bad")

    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        assert worker._slots.left == 1
        stubborn.is_free = True

    assert work(queue, script, slots=1, drain=True).tally.ok == 1


def test_a_file_that_cannot_be_rejected_waits_alone(
    queue: Queue, drop: Callable[..., Path], work: Callable[..., Any],
    eventually: Callable[..., Any], stubborn: Stubborn, paused: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    drop("bad.json", "[]")

    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        queue.wait(_others(queue), timeout=20)
        stubborn.is_free = True
        eventually(lambda: queue.spool.reader.counts()["dead"])
        worker.stop()

    work(queue, script, slots=1)
    assert paused == []
    assert caplog.text.count(os.strerror(stubborn.code)) == 1


@pytest.fixture
def runs(queue: Queue, tmp_path: Path) -> Callable[[], int]:
    """Enqueue the job `stuck`, whose outcome cannot be written; return how often it has run."""
    queue.enqueue(f"echo ran >> {tmp_path}/runs", id="stuck", priority=9)
    return lambda: len((tmp_path / "runs").read_text().split())


def test_a_job_that_cannot_be_settled_is_put_aside_and_not_run_again(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn,
    paused: list[str], runs: Callable[[], int], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    queue.set_setting("rescan_interval", "0.1")

    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        queue.wait(_others(queue), timeout=20)
        rounds = stubborn.tries
        eventually(lambda: stubborn.tries >= rounds + 10)
        assert queue.get("stuck").state == "processing"
        stubborn.is_free = True
        queue.wait(["stuck"], timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 11
    assert (paused, runs()) == ([], 1)
    assert caplog.text.count("job stuck cannot be settled: ") == 1
    assert [entry.outcome for entry in queue.get("stuck").job.history] == ["ok"]


def test_a_worker_that_is_stopped_waits_for_an_outcome_that_was_put_aside(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn,
    runs: Callable[[], int],
) -> None:  # fmt: skip
    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        worker.stop()
        eventually(lambda: not worker._slots.left)
        stubborn.is_free = True

    tally = work(queue, script, slots=1).tally
    assert (tally.ok, tally.unsettled, queue.get("stuck").state) == (1, 0, "completed")


def test_a_worker_that_is_stopped_now_leaves_such_an_outcome_to_recovery(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn,
    runs: Callable[[], int],
) -> None:  # fmt: skip
    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        worker.stop_now()

    tally = work(queue, script, slots=1).tally
    assert (tally.ok, tally.unsettled, queue.get("stuck").state) == (0, 1, "processing")


def test_a_worker_puts_no_more_outcomes_aside_than_it_has_slots(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    paused: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    refused = Stubborn(errno.EPERM)
    settle = Claims.settle

    def refuse(self: Claims, claim: Any, *args: Any) -> Any:
        refused.check(claim.path)
        return settle(self, claim, *args)

    monkeypatch.setattr(Claims, "settle", refuse)
    ids = queue.enqueue_many([{"command": f"echo ran >> {tmp_path}/runs"}] * 4)

    def script(worker: Worker) -> None:
        eventually(lambda: len(paused) >= 3)
        assert len((tmp_path / "runs").read_text().split()) == 2
        refused.is_free = True
        queue.wait(ids, timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 4
    assert len((tmp_path / "runs").read_text().split()) == 4


def test_a_directory_that_cannot_be_changed_is_not_the_trouble_of_one_file(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], stubborn: Stubborn,
    paused: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "access", lambda *_: False)
    queue.enqueue("true", id="bad")

    def script(worker: Worker) -> None:
        eventually(lambda: len(paused) >= 3)
        stubborn.is_free = True
        queue.wait(["bad"], timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 1


def test_a_run_file_that_cannot_be_made_holds_up_its_job_alone(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], paused: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    refused = Stubborn(errno.EBUSY)

    def refuse(path: str, *args: Any) -> int:
        if os.path.basename(path) == "bad.1.run":
            refused.check(path)
        return make_locked(path, *args)

    monkeypatch.setattr("queuectl.worker.attempt.make_locked", refuse)
    queue.enqueue("true", id="bad", priority=9)

    def script(worker: Worker) -> None:
        eventually(lambda: refused.tries >= 3)
        queue.wait(_others(queue), timeout=20)
        refused.is_free = True
        queue.wait(["bad"], timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 11
    assert paused == []
    assert len(queue.get("bad").job.history) == 1


def test_a_job_that_cannot_be_removed_does_not_stop_retention(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(retention, "INTERVAL", 0.0)
    monkeypatch.setattr(retention, "STEP", 2)
    queue.set_setting("rescan_interval", "0.1")
    for name in ("a", "bad", "c", "d", "e"):
        (root / "done" / f"{name}.json").write_text('{"command": "true"}')
    queue.set_setting("keep_done_count", "0")

    def script(worker: Worker) -> None:
        eventually(lambda: os.listdir(root / "done") == ["bad.json"] and stubborn.tries >= 3)
        stubborn.is_free = True
        eventually(lambda: not os.listdir(root / "done"))
        worker.stop()

    work(queue, script)
    assert caplog.text.count("done/bad.json cannot be removed: ") == 1


def test_a_job_that_is_taken_between_the_link_and_the_unlink_of_a_put_back_is_not_forgotten(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The slot that takes it sees two names of one file, and no event tells when one is gone."""
    queue.set_setting("rescan_interval", "3600")
    monkeypatch.setattr(renames, "_renameat2", None)
    unlink, seen = os.unlink, [0]

    def count(one: str, other: str) -> bool:
        found = same_file(one, other)
        seen[0] += found and one != other
        return found

    def slow_unlink(path: str, **options: Any) -> None:
        if path.endswith("/a.1.json") and "processing" in path:
            eventually(lambda: seen[0])
        unlink(path, **options)

    monkeypatch.setattr("queuectl.spool.claims.same_file", count)
    monkeypatch.setattr(os, "unlink", slow_unlink)
    start, release, refused = attempt._start, Claims.release, [0, 0]

    def refuse_once(*args: Any) -> Any:
        refused[0] += 1
        if refused[0] == 1:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return start(*args)

    def refuse_release(*args: Any) -> None:
        refused[1] += 1
        if refused[1] == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        release(*args)

    monkeypatch.setattr(attempt, "_start", refuse_once)
    monkeypatch.setattr(Claims, "release", refuse_release)

    def script(worker: Worker) -> None:
        eventually(lambda: worker._housekeeper.been_round.is_set())
        queue.enqueue("true", id="a")
        eventually(lambda: refused[1] and not worker._slots.busy)
        worker._slots.put_back_strays()  # as the housekeeper does
        queue.wait(["a"], timeout=20)
        worker.stop()

    assert work(queue, script, slots=2).tally.ok == 1
    assert seen[0] >= 1


def test_a_slot_that_could_not_claim_a_job_wakes_the_main_thread_that_looks_at_it_again(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    queue.set_setting("rescan_interval", "3600")
    take, refused = Disk.take, [0]

    def refuse(disk: Disk, *args: str) -> list[str]:
        if "pending" in args[0] and refused[0] < 2:
            refused[0] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return take(disk, *args)

    monkeypatch.setattr(Disk, "take", refuse)

    def script(worker: Worker) -> None:
        eventually(lambda: worker._housekeeper.been_round.is_set())
        queue.wait([queue.enqueue("true", id="a")], timeout=20)
        worker.stop()

    assert work(queue, script, slots=1).tally.ok == 1
    assert refused == [2]


def test_a_job_whose_outcome_was_put_aside_and_that_is_moved_by_hand_runs_again_after_that(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    stubborn: Stubborn, runs: Callable[[], int], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The outcome of the earlier run must not be written into the claim of the next one."""

    def script(worker: Worker) -> None:
        eventually(lambda: stubborn.tries >= 3)
        [claimed] = (root / "processing").glob("*/stuck.1.json")
        claimed.rename(root / "pending" / "stuck.json")
        eventually(lambda: "job stuck still runs" in caplog.text)
        assert runs() == 1
        stubborn.is_free = True
        queue.wait(["stuck"], timeout=20)
        worker.stop()

    work(queue, script, slots=1)
    assert runs() == 2
    assert "its outcome, ok, is not recorded" in caplog.text
    assert len(queue.get("stuck").job.history) == 1

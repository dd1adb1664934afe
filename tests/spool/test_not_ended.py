"""Processes of a failed attempt that cannot be ended: nothing of the job runs beside them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import lives
from helpers.waiting import eventually

from queuectl import Queue
from queuectl.process import spawn, survivors
from queuectl.worker.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs flock and /proc")

LEFT = "setsid sh -c 'echo $$ >> left; exec sleep 1000' & until test -s left; do sleep 0.01; done"


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[int]]]:
    """The processes that the job has left; a worker does not see them, as another user's."""
    monkeypatch.setattr(survivors, "find", lambda *_, **__: set())
    monkeypatch.setattr(survivors, "PATIENCE", 0.2)

    def read() -> list[int]:
        path = tmp_path / "left"
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    yield read
    for pid in read():
        if Path(f"/proc/{pid}/comm").exists():
            os.kill(pid, signal.SIGKILL)


def _starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().split())


def _job(tmp_path: Path) -> dict[str, Any]:
    command = f'echo x >> starts; test "$QUEUECTL_ATTEMPT" = 2 || {{ {LEFT}; exit 3; }}'
    return {"command": command, "id": "a", "cwd": tmp_path, "max_retries": 1}


def test_a_retry_waits_for_whoever_still_holds_the_lock(
    queue: Queue,
    tmp_path: Path,
    work: Callable[..., Worker],
    left: Callable[[], list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.enqueue(**_job(tmp_path))

    def script(worker: Worker) -> None:
        eventually(lambda: "cannot be ended" in caplog.text)
        assert (queue.get("a").state, _starts(tmp_path)) == ("processing", 1)
        assert queue.get("a").job.history == []
        os.kill(left()[0], signal.SIGKILL)
        queue.wait(["a"], timeout=20)
        worker.stop()

    work(queue, script)
    assert queue.get("a").state == "completed"
    assert [entry.exit_code for entry in queue.get("a").job.history] == [3, 0]


def test_a_worker_that_stops_now_leaves_such_a_claim_to_recovery(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Worker],
    left: Callable[[], list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.enqueue(**_job(tmp_path))

    def script(worker: Worker) -> None:
        eventually(lambda: "cannot be ended" in caplog.text)
        worker.stop_now()

    worker = work(queue, script)
    assert worker.tally.unsettled == 1
    assert (queue.get("a").state, queue.get("a").job.history) == ("processing", [])
    assert (root / "processing" / worker.name / "a.1.run").exists()
    assert len(left()) == 1


def test_an_attempt_is_not_settled_before_its_processes_have_ended(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    find = survivors.find

    def find_one_more(*args: Any, **options: Any) -> set[int]:
        found = queue.get("a")
        seen.append((found.state, len(found.job.history)))
        return {2**30} if len(seen) < 4 else find(*args, **options)

    monkeypatch.setattr(survivors, "find", find_one_more)
    queue.enqueue("exit 3", id="a", max_retries=0)
    drain(queue)
    assert seen == [("processing", 0)] * 4
    assert queue.get("a").state == "dead"


# -- hooks -------------------------------------------------------------------------------------


@pytest.fixture
def stubborn(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """A hook that runs too long and gets no signal, as another user's; call this to end it."""
    queue.set_setting("on_done", f"echo $$ >> {tmp_path}/hook; exec sleep 1000")
    queue.set_setting("hook_timeout", "0.2")
    queue.set_setting("kill_grace", "0.1")
    queue.enqueue("true", id="a")
    monkeypatch.setattr(survivors, "_signal", lambda *_: None)
    monkeypatch.setattr(survivors, "PATIENCE", 0.2)

    def end() -> None:
        for pid in map(int, (tmp_path / "hook").read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    yield end
    end()


def test_a_hook_is_not_over_before_its_processes_have_ended(
    queue: Queue,
    root: Path,
    work: Callable[..., Worker],
    stubborn: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(worker: Worker) -> None:
        eventually(lambda: "hook on_done of job a: its processes cannot be ended" in caplog.text)
        assert len([*root.glob("processing/*/hooks/a.1.*")]) == 1
        stubborn()
        eventually(lambda: not [*root.glob("processing/*/hooks/a.1.*")])
        worker.stop()

    work(queue, script)
    assert "hook on_done of job a failed: ran longer than 0.2 s" in caplog.text


def test_a_worker_that_stops_now_leaves_such_a_hook_to_recovery(
    queue: Queue,
    root: Path,
    work: Callable[..., Worker],
    stubborn: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(worker: Worker) -> None:
        eventually(lambda: "its processes cannot be ended" in caplog.text)
        worker.stop_now()

    work(queue, script)
    assert "is left to the next worker" in caplog.text
    assert len([*root.glob("processing/*/hooks/a.1.*")]) == 1


@pytest.mark.parametrize("hides", ["setsid sh -c", "env -i setsid sh -c"])
def test_what_a_hook_that_runs_too_long_has_started_is_ended(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], hides: str
) -> None:
    started = f"{hides} 'echo $$ > {tmp_path}/pid; exec sleep 1000'"
    queue.set_setting("on_done", f"{started} & exec sleep 1000")
    queue.set_setting("hook_timeout", "0.5")
    queue.enqueue("true", id="a")
    drain(queue)
    assert not lives(int((tmp_path / "pid").read_text()))


# -- whose processes ---------------------------------------------------------------------------


def test_a_group_is_left_alone_once_somebody_else_has_reaped_its_leader(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for: list[survivors.Marks] = []

    def find(marks: survivors.Marks, **_: Any) -> set[int]:
        looked_for.append(marks)
        return set()

    monkeypatch.setattr(spawn.Child, "group", None)
    monkeypatch.setattr(survivors, "find", find)
    queue.set_setting("on_done", "exec sleep 1000")
    queue.set_setting("hook_timeout", "0.2")
    queue.enqueue("true; exit 3", id="a", max_retries=0)
    drain(queue)
    assert [marks.group for marks in looked_for] == [None] * len(looked_for)
    assert looked_for


@pytest.mark.parametrize("leaves", ["true", "sleep 1000 &", "trap '' TERM; sleep 1000 &"])
@pytest.mark.parametrize("also", ["", "exec 64>&-; "])
def test_a_proc_of_another_pid_namespace_is_not_looked_at(
    queue: Queue,
    tmp_path: Path,
    drain: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    leaves: str,
    also: str,
) -> None:
    readlink = os.readlink
    elsewhere = {"/proc/self": "1"}
    monkeypatch.setattr(os, "readlink", lambda path: elsewhere.get(path) or readlink(path))
    monkeypatch.setattr(os, "listdir", _only_outside_proc(os.listdir))
    command = f"{also}{leaves}\necho $! > {tmp_path}/pid; exit 3"
    queue.enqueue(["bash", "-c", command], id="a", max_retries=0)
    drain(queue)
    assert queue.get("a").job.last_attempt.exit_code == 3
    if pid := (tmp_path / "pid").read_text().strip():
        eventually(lambda: not lives(int(pid)))


def _only_outside_proc(listdir: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def call(path: Any) -> list[str]:
        assert path != "/proc", "strangers are looked at"
        return listdir(path)

    return call


def test_the_processes_that_cannot_be_ended_are_named(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    signal_all = survivors._signal
    monkeypatch.setattr(survivors, "PATIENCE", 0.1)
    monkeypatch.setattr(survivors, "_signal", lambda *_: None)
    queue.enqueue(f"sleep 1000 & echo $! > {tmp_path}/left; exit 1", id="a", max_retries=0)

    def script(worker: Worker) -> None:
        eventually(lambda: "cannot be ended" in caplog.text)
        pid = int((tmp_path / "left").read_text())
        assert f"job a: its processes cannot be ended (pid {pid}); waiting for" in caplog.text
        monkeypatch.setattr(survivors, "_signal", signal_all)
        queue.wait(["a"], timeout=20)
        worker.stop()

    work(queue, script)

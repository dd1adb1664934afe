"""Calls that fail once the command runs: nothing of that is taken for a command not started."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.processes import worker

from queuectl import Queue
from queuectl.process import spawn, survivors, waiting
from queuectl.record.job import Attempt
from queuectl.worker import attempt
from queuectl.worker.worker import Worker

REFUSED = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS, errno.EPERM]
IGNORES_CHILDREN = (
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
    " os.execvp(sys.argv[1], sys.argv[1:])",
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds and /proc are Linux's")


def _failing(number: int) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


class _Poll:
    """A poll(2) that fails."""

    register = staticmethod(lambda *_: None)
    poll = staticmethod(_failing(errno.ENOMEM))


def _start(command: str) -> spawn.Child:
    with open(os.devnull, "w") as output:
        return spawn.start(["/bin/sh", "-c", command], os.environb, None, output=output.fileno())


@pytest.fixture(params=[*(errno.errorcode[number] for number in REFUSED), "poll"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls by which a worker waits for a command fail, each time."""
    if request.param == "poll":
        monkeypatch.setattr(waiting, "select", SimpleNamespace(poll=_Poll, POLLIN=select.POLLIN))
    else:
        monkeypatch.setattr(os, "pidfd_open", _failing(getattr(errno, request.param)))


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("ends", ["true", "exit 3"])
def test_a_job_runs_once_though_its_end_cannot_be_waited_for(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], ends: str
) -> None:
    queue.enqueue(f"echo ran >> {tmp_path}/runs; sleep 0.2; {ends}", id="a", max_retries=0)
    drain(queue, slots=1)
    assert (tmp_path / "runs").read_text() == "ran\n"
    entries = queue.get("a").job.history
    assert [entry.exit_code for entry in entries] == [0 if ends == "true" else 3]


@pytest.mark.usefixtures("broken")
def test_a_timeout_holds_though_the_end_cannot_be_waited_for(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    queue.enqueue("exec sleep 1000", id="a", timeout=0.2, max_retries=0)
    drain(queue, slots=1)
    entries = queue.get("a").job.history
    assert [entry.outcome for entry in entries] == ["timeout"]
    assert entries[0].signal in ("SIGTERM", "SIGKILL")  # a slow machine may use up the grace


def test_a_look_at_a_command_that_has_ended_does_not_reap_it() -> None:
    command = _start("exit 3")
    os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
    assert command.has_ended()
    assert os.path.exists(f"/proc/{command.pid}")
    assert command.reap() == 3


def test_a_command_that_somebody_else_has_reaped_has_ended_and_failed() -> None:
    switch = waiting.StopSwitch()
    command = _start("true")
    os.waitpid(command.pid, 0)
    assert waiting.wait(command, None, switch) is None
    assert command.has_failed()
    assert command.reap() is None
    assert command.group is None
    switch.close()


def test_the_outcome_of_a_command_that_somebody_else_has_reaped_is_failed(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = spawn.start

    def start_and_reap(*args: Any, **options: Any) -> spawn.Child:
        command = start(*args, **options)
        os.waitpid(command.pid, 0)
        return command

    monkeypatch.setattr(spawn, "start", start_and_reap)
    queue.enqueue("true", id="a", max_retries=1)
    drain(queue, slots=1)
    found: list[Attempt] = queue.get("a").job.history
    assert [entry.outcome for entry in found] == ["failed", "failed"]
    assert "exit status is unknown" in (found[0].error or "")


def test_a_worker_whose_parent_ignores_the_end_of_its_children_knows_how_commands_end(
    queue: Queue, root: Path, tmp_path: Path
) -> None:
    queue.enqueue("exit 3", id="a", max_retries=0)
    queue.enqueue("trap", id="b")  # lists what is ignored
    with worker(root, tmp_path / "said", "--drain", prefix=IGNORES_CHILDREN, wait=False) as it:
        assert it.left() == 0
    assert [entry.exit_code for entry in queue.get("a").job.history] == [3]
    assert queue.get("b").state == "completed"


def test_settings_that_cannot_be_read_at_the_end_do_not_put_the_job_back(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = queue.spool.refresh_settings
    left = [2]

    def refuse() -> None:
        if (tmp_path / "runs").exists() and left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        refresh()

    monkeypatch.setattr(queue.spool, "refresh_settings", refuse)
    monkeypatch.setattr(Worker, "_each_round", lambda self: self._watch.arm())
    queue.enqueue(f"echo ran >> {tmp_path}/runs", id="a")
    drain(queue, slots=1)
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert (queue.get("a").state, left) == ("completed", [0])


def test_an_error_past_the_start_that_nothing_handles_leaves_the_claim_to_recovery(
    queue: Queue, root: Path, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.enqueue("true", id="a")
    monkeypatch.setattr(attempt, "wait", _failing(errno.EIO))
    with pytest.raises(RuntimeError):
        drain(queue, slots=1)
    assert queue.get("a").state == "processing"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("call", ["listdir", "open"])
def test_what_cannot_be_looked_for_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    command = _start("exec sleep 1000")
    marks = survivors.Marks("no cookie", command.group, None)
    looks = []

    def gives_up(overdue: float) -> bool:
        looks.append(overdue)
        if len(looks) == 3:
            monkeypatch.undo()  # there is room again
        return False

    monkeypatch.setattr(os, call, _failing(number))
    try:
        assert survivors.end(marks, 0.5, gives_up=gives_up)
        assert len(looks) >= 3
        assert command.has_ended()
    finally:
        if not command.has_ended():
            os.kill(command.pid, signal.SIGKILL)
        command.reap()


def test_a_worker_knows_how_commands_end_though_it_ignored_the_end_of_its_children(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    queue.enqueue("exit 3", id="a", max_retries=0)
    try:
        drain(queue)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert [entry.exit_code for entry in queue.get("a").job.history] == [3]

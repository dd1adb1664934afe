"""What is left of a command: found by each of its marks alone, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import eventually

from queuectl.disk.locks import make_locked
from queuectl.process import survivors
from queuectl.process.survivors import Marks

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="only /proc tells whose process is whose"
)
DEAF = (
    "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(*words: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"start_new_session": True, "stdout": subprocess.PIPE, **options}
        started.append(subprocess.Popen(words, **options))
        return started[-1]

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_process_is_found_by_its_environment_alone(start: Any) -> None:
    process = start("sleep", "99", env={**os.environ, survivors.RUN_VARIABLE: "w.a.1"})
    assert survivors.find(Marks("w.a.1", None, None)) == {process.pid}
    assert survivors.find(Marks("w.a.2", None, None)) == set()


def test_a_process_is_found_by_its_descriptor_alone(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    with path.open("w") as file:
        process = start("sleep", "99", pass_fds=(file.fileno(),))
    assert survivors.find(Marks("w.a.1", None, str(path))) == {process.pid}


def test_a_process_is_found_by_its_group_alone(start: Any) -> None:
    process = start("sleep", "99")
    assert survivors.find(Marks("w.a.1", process.pid, None)) == {process.pid}


def test_the_whole_group_of_a_process_that_is_found_is_found(start: Any) -> None:
    marked = {**os.environ, survivors.RUN_VARIABLE: "w.a.1"}
    leader = start("sh", "-c", "env -i sleep 99 & echo $!; wait", env=marked)
    member = int(leader.stdout.readline())
    environment = Path(f"/proc/{member}/environ")
    eventually(lambda: survivors.RUN_VARIABLE.encode() not in environment.read_bytes())
    assert survivors.find(Marks("w.a.1", None, None)) == {leader.pid, member}


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(start: Any) -> None:
    process = start(sys.executable, "-c", DEAF)
    process.stdout.read(1)
    marks = Marks("w.a.1", process.pid, None)
    assert survivors.end(marks, 0.05, gives_up=lambda overdue: overdue > 0.5)
    assert process.wait() == -signal.SIGKILL


def test_a_run_whose_lock_is_held_is_not_over_though_nobody_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "a.run")
    lock = make_locked(path, f"{path}.new", 0o600)
    marks = Marks("w.a.1", None, path)
    assert not survivors.end(marks, 0, gives_up=lambda overdue: overdue > 0.05)
    os.close(lock)
    assert survivors.end(marks, 0, gives_up=lambda _: True)

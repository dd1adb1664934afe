"""A command's whole tree: ended with it when it failed or must end, left alone otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="only /proc tells whose process is whose"
)

IN_THE_GROUP = "sleep 1000 & echo $! >> pids"
OUT_OF_THE_SESSION = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' &"
OUT_OF_THE_ENVIRONMENT = "setsid env -i sh -c 'echo $$ >> pids; exec sleep 1000' &"
WITHOUT_DESCRIPTORS = (
    f'setsid {sys.executable} -c "import os, time; os.closerange(3, 200);'
    " print(os.getpid(), file=open('pids', 'a'), flush=True); time.sleep(1000)\" &"
)
DEAF = "setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1; done' &"
TREES = {
    "group": IN_THE_GROUP,
    "session": OUT_OF_THE_SESSION,
    "environment": OUT_OF_THE_ENVIRONMENT,
    "descriptors": WITHOUT_DESCRIPTORS,
    "deaf": DEAF,
}
READY = "until test -s pids; do sleep 0.01; done"


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """The processes that wrote their numbers down."""

    def read() -> list[int]:
        path = tmp_path / "pids"
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    yield read
    for pid in read():
        if _lives(pid):
            os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_timeout_ends_the_whole_tree(
    queue: Queue,
    tmp_path: Path,
    drain: Callable[..., Any],
    pids: Callable[[], list[int]],
    tree: str,
) -> None:
    queue.set_setting("kill_grace", "0.2")
    queue.enqueue(f"{tree}\n{READY}; touch ready; sleep 1000", id="a", cwd=tmp_path, timeout=1)
    queue.set_setting("max_retries", "0")
    drain(queue)
    entry = queue.get("a").job.last_attempt
    assert (entry.outcome, entry.error) == ("timeout", "ran longer than 1 s")
    assert (tmp_path / "ready").exists()
    assert not [pid for pid in pids() if _lives(pid)]


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_nothing_is_left_of_a_command_that_failed(
    queue: Queue,
    tmp_path: Path,
    drain: Callable[..., Any],
    pids: Callable[[], list[int]],
    tree: str,
) -> None:
    queue.set_setting("kill_grace", "0.2")
    queue.enqueue(f"{tree}\n{READY}; exit 7", id="a", cwd=tmp_path, max_retries=0)
    drain(queue)
    assert queue.get("a").job.last_attempt.exit_code == 7
    assert pids()
    assert not [pid for pid in pids() if _lives(pid)]


@pytest.mark.parametrize("tree", [IN_THE_GROUP, OUT_OF_THE_SESSION], ids=["group", "session"])
def test_what_a_command_that_succeeded_left_running_is_left_alone(
    queue: Queue,
    tmp_path: Path,
    drain: Callable[..., Any],
    pids: Callable[[], list[int]],
    tree: str,
) -> None:
    queue.enqueue(f"{tree}\n{READY}", id="a", cwd=tmp_path)
    drain(queue)
    assert queue.get("a").state == "completed"
    assert [_lives(pid) for pid in pids()] == [True]


def test_the_grace_is_used_by_who_wants_to_end_well(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    queue.set_setting("kill_grace", "20")
    # Its child may be ended first: then it waits for its own signal.
    ends_well = "trap 'sleep 0.3; echo well > ended; exit 0' TERM"
    word = f"{ends_well}; touch ready; sleep 1000 & while :; do wait; done"
    queue.enqueue(word, id="a", cwd=tmp_path, timeout=3, max_retries=0)
    drain(queue)
    assert (tmp_path / "ended").read_text() == "well\n"
    assert queue.get("a").job.last_attempt.outcome == "timeout"


def test_a_command_that_was_ended_by_its_timeout_says_by_which_signal(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    queue.enqueue(["sleep", "1000"], id="a", timeout=0.1, max_retries=0)
    drain(queue)
    assert queue.get("a").job.last_attempt.signal == "SIGTERM"


def test_the_timeout_of_the_settings_holds_where_a_job_has_none(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    queue.set_setting("timeout", "0.1")
    queue.set_setting("max_retries", "0")
    queue.enqueue("sleep 1000", id="a")
    drain(queue)
    assert queue.get("a").job.last_attempt.outcome == "timeout"


def test_who_only_reads_the_run_file_is_not_ended_with_the_command(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    readers: list[subprocess.Popen[bytes]] = []

    def read_and_cancel(worker: Any) -> None:
        eventually(lambda: queue.get("a").pid)
        with open(root / "processing" / worker.info.name / "a.1.run") as run_file:
            readers.append(subprocess.Popen(["sleep", "1000"], stdin=run_file))
        queue.cancel("a")
        eventually(lambda: queue.get("a").state == "dead")
        worker.stop()

    queue.enqueue("sleep 1000", id="a")
    work(queue, read_and_cancel)
    (reader,) = readers
    spared = reader.poll() is None
    reader.kill()
    reader.wait()
    assert spared

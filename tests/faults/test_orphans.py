"""What a command leaves running is ended before its job is run again, however it has hidden.

Each job's second attempt looks for the processes of its first, so that it is told by the one
who would suffer. Whoever sheds all three marks at once (descriptors closed, environment
cleared, own session) has left for good: nothing but a cgroup would hold it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.harness import orphan
from helpers.processes import lives, living, none_left, worker
from helpers.waiting import eventually

from queuectl import Queue

pytestmark = [
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes by /proc"),
    pytest.mark.timeout(180),
]

HIDDEN = {
    "in-background": (),
    "own-session": ("setsid",),
    "double-fork": ("fork",),
    "daemon": ("setsid", "fork"),
    "deaf-daemon": ("setsid", "fork", "deaf"),
    "closed-daemon": ("setsid", "fork", "closed"),
    "bare-daemon": ("setsid", "fork", "bare"),
    "deaf-closed-bare": ("deaf", "closed", "bare"),
}


class Bench:
    """A spool, and jobs that leave processes behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mark = f"orphan-{os.urandom(6).hex()}"
        self.queue = Queue(directory / "spool")
        self.root = Path(self.queue.path)
        for key, value in {
            "backoff_base": "0", "kill_grace": "0.3", "rescan_interval": "0.3", "max_retries": "1",
        }.items():  # fmt: skip
            self.queue.set_setting(key, value)

    def enqueue(self, name: str, end: str, *traits: str, **options: Any) -> str:
        """Enqueue a job that leaves one process with these traits, and ends so."""
        command = [
            sys.executable, "-I", "-S", orphan.__file__,
            "run", self.marked(name), str(self.directory), end, *traits,
        ]  # fmt: skip
        return self.queue.enqueue(command, id=name, **options)

    def enqueue_all(self, end: str, **options: Any) -> None:
        """Enqueue one job for each way to hide."""
        for name, traits in HIDDEN.items():
            self.enqueue(name, end, *traits, **options)

    def marked(self, name: str) -> str:
        """What is in the arguments of a job's processes."""
        return f"{self.mark}-{name}"

    def pid(self, name: str) -> int:
        """Wait until a job's process stands, and return its id."""
        ready = self.directory / f"ready-{self.marked(name)}"
        eventually(ready.exists, f"{name} has left a process", 60)
        return int(ready.read_text())

    def alive_at_second_run(self, name: str) -> str | None:
        """What the second attempt saw of the first; None if there has been none."""
        seen = self.directory / f"seen-{self.marked(name)}"
        return seen.read_text().strip() if seen.exists() else None

    def start(self, *options: str, **more: Any) -> Any:
        """Start a worker."""
        said = self.directory / f"worker-{os.urandom(2).hex()}.err"
        return worker(self.root, said, "--count", str(len(HIDDEN)), *options, **more)

    def is_over(self, *names: str) -> bool:
        """Whether these jobs have ended."""
        return all(self.queue.get(name).state in ("completed", "dead") for name in names)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with none_left(bench.mark):
        yield bench


NOTHING_SEEN = dict.fromkeys(HIDDEN, "")


def _seen(bench: Bench) -> dict[str, str | None]:
    return {name: bench.alive_at_second_run(name) for name in HIDDEN}


def test_what_a_failed_command_left_is_ended_before_the_retry(
    bench: Bench, figures: Callable[..., None]
) -> None:
    bench.enqueue_all("fails")
    with bench.start("--drain") as process:
        assert process.left(60) == 0

    figures("orphans", left=len(HIDDEN), ended=list(_seen(bench).values()).count(""))
    assert _seen(bench) == NOTHING_SEEN


def test_what_a_command_that_ran_too_long_left_is_ended_before_the_retry(
    bench: Bench, figures: Callable[..., None]
) -> None:
    bench.enqueue_all("hangs", timeout=5)
    with bench.start("--drain") as process:
        assert process.left(90) == 0

    figures("orphans", left=len(HIDDEN), ended=list(_seen(bench).values()).count(""))
    assert _seen(bench) == NOTHING_SEEN


def test_what_outlives_its_killed_worker_is_ended_before_the_next_run(
    bench: Bench, figures: Callable[..., None]
) -> None:
    bench.enqueue_all("hangs")
    with bench.start() as first:
        pids = [bench.pid(name) for name in HIDDEN]
        first.kill()
    outlived = sum(map(lives, pids))
    with bench.start("--drain") as second:
        assert second.left(90) == 0

    figures("orphans", left=len(HIDDEN), ended=list(_seen(bench).values()).count(""))
    assert outlived == len(HIDDEN)
    assert _seen(bench) == NOTHING_SEEN


@pytest.mark.parametrize("traits", [("closed",), ("bare",), ("deaf",)])
def test_a_command_that_outlives_its_worker_by_itself_is_ended_before_the_next_run(
    bench: Bench, traits: tuple[str, ...]
) -> None:
    bench.enqueue("a", "becomes", *traits)
    with bench.start() as first:
        bench.pid("a")
        first.kill()
    with bench.start("--drain") as second:
        assert second.left(60) == 0

    assert bench.alive_at_second_run("a") == ""


def test_a_worker_that_is_told_to_stop_leaves_the_rest_of_a_recovery_to_others(
    bench: Bench,
) -> None:
    names, asked = ("a", "b", "c"), bench.directory / "asked"
    for name in names:
        ready = bench.directory / f"ready-{bench.marked(name)}"
        bench.queue.enqueue(
            f"test $QUEUECTL_ATTEMPT = 1 || exit 0; trap 'echo >> {asked}' TERM; "
            f"echo $$ > {ready}.new; mv {ready}.new {ready}; while true; do sleep 0.02; done",
            id=name,
        )
    with bench.start() as first:
        pids = [bench.pid(name) for name in names]
        first.kill()
    bench.queue.set_setting("kill_grace", "1000")
    with bench.start() as second:
        eventually(asked.exists, "one is asked to end")
        second.send(signal.SIGTERM)
        assert second.left() == 0
    assert all(map(lives, pids))
    assert {bench.queue.get(name).state for name in names} == {"processing"}
    bench.queue.set_setting("kill_grace", "0.3")
    with bench.start("--drain") as third:
        assert third.left(60) == 0

    assert not any(map(lives, pids))
    assert {bench.queue.get(name).state for name in names} == {"completed"}


def test_a_cancel_ends_the_whole_tree(bench: Bench) -> None:
    bench.enqueue_all("hangs")
    with bench.start() as process:
        for name in HIDDEN:
            bench.pid(name)
            bench.queue.cancel(name)
        eventually(lambda: bench.is_over(*HIDDEN), "all are cancelled", 60)
        left = living(bench.mark)
        assert process.runs

    assert left == []


def test_a_stop_at_once_ends_the_whole_tree(bench: Bench) -> None:
    bench.enqueue_all("hangs")
    with bench.start() as process:
        for name in HIDDEN:
            bench.pid(name)
        process.send(signal.SIGTERM)
        eventually(lambda: "stopping when" in process.said, "it is told to stop")
        process.send(signal.SIGTERM)
        assert process.left(60) == 0

    assert living(bench.mark) == []


def test_a_daemon_that_a_successful_job_started_is_left_alone(bench: Bench) -> None:
    bench.enqueue("a", "succeeds", "setsid", "fork")
    with bench.start() as first:
        pid = bench.pid("a")
        eventually(lambda: bench.is_over("a"), "the job is completed")
        first.kill()
    with bench.start("--drain") as second:  # recovers what the first has left
        assert second.left() == 0

    assert bench.queue.get("a").state == "completed"
    assert lives(pid)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a second host's name needs root"
)
def test_a_command_that_runs_on_another_host_is_waited_for(bench: Bench) -> None:
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "-")
    bench.enqueue("a", "becomes")
    with bench.start() as first:
        pid = bench.pid("a")
        first.kill()
    with bench.start(prefix=elsewhere) as second:
        eventually(lambda: "waiting for its end" in second.said, "it says that it waits")
        waited = (lives(pid), bench.alive_at_second_run("a"))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: bench.is_over("a"), "the job is run again")

    assert waited == (True, None)
    assert bench.alive_at_second_run("a") == ""

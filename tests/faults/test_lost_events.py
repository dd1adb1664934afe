"""Events that are lost, watches that cannot be had, and a spool that changes under its workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faults.harness.event_bench import IN_A_NAMESPACE, SET_LIMIT, Bench
from helpers.processes import WorkerProcess, none_left
from helpers.waiting import eventually

from queuectl import Queue

QUEUE_LENGTH = Path("/proc/sys/fs/inotify/max_queued_events")
FAR = datetime.now(UTC) + timedelta(days=30)


def _why_no_namespace() -> str | None:
    """Limits of a user namespace hold for it alone: nobody else's workers lose their watches."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        return "there is no unshare(1) here"
    done = subprocess.run([*IN_A_NAMESPACE, SET_LIMIT % "instances", "0", "true"],
                          check=False, capture_output=True)  # fmt: skip
    return None if done.returncode == 0 else "user namespaces cannot be had here"


WHY_NO_NAMESPACE = _why_no_namespace()
needs_namespace = pytest.mark.skipif(WHY_NO_NAMESPACE is not None, reason=str(WHY_NO_NAMESPACE))
pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with none_left(str(bench.go)):
        yield bench


def _inotify_instances(process: WorkerProcess) -> int:
    links = []
    for fd in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(fd))
    return sum("inotify" in link for link in links)


# -- no events -------------------------------------------------------------------------------


@contextlib.contextmanager
def _queue_length(events: int) -> Iterator[None]:
    """Let instances made in this block queue no more than so many events."""
    before = QUEUE_LENGTH.read_text()
    try:
        QUEUE_LENGTH.write_text(str(events))
        yield
    finally:
        QUEUE_LENGTH.write_text(before)


@pytest.mark.skipif(not os.access(QUEUE_LENGTH, os.W_OK), reason="shorter queues need root")
def test_what_an_overflown_queue_of_events_does_not_tell_is_found_by_the_next_scan(
    bench: Bench, figures: Callable[..., None]
) -> None:
    names = [f"job-{number}" for number in range(60)]
    known = bench.drop("known", run_at=FAR.isoformat())
    with contextlib.ExitStack() as stack:
        with _queue_length(4):
            process = stack.enter_context(bench.start())
        bench.runs(bench.hanging("cancelled"))
        process.send(signal.SIGSTOP)  # nobody reads the events
        for name in names:
            bench.drop(name)
        bench.queue.cancel("cancelled")
        known.write_text(
            '{"command": "true"}'
        )  # a rescan looks only at files that it does not know
        process.send(signal.SIGCONT)
        bench.is_done(*names, "known")
        eventually(lambda: bench.queue.get("cancelled").state == "dead", "the cancel is heeded")

    figures("lost events", jobs=len(names) + 1)


@needs_namespace
def test_a_worker_that_can_have_no_watch_says_so_once_and_looks_by_itself(bench: Bench) -> None:
    with bench.start_with_few("instances", 0) as process:
        bench.runs(bench.hanging("cancelled"))
        for number in range(4):  # one after the other: that is four rounds at least
            bench.drop(f"job-{number}")
            bench.is_done(f"job-{number}")
        bench.queue.cancel("cancelled")
        eventually(lambda: bench.queue.get("cancelled").state == "dead", "the cancel is heeded")
        said = process.said
        bench.queue.stop_worker(bench.queue.workers()[0].name)
        assert process.left() == 0

    lines = [line for line in said.splitlines() if "cannot watch" in line]
    assert "every second" in lines[0]
    assert len(lines) <= 2, "it says so again and again"  # the main thread and the housekeeper


@needs_namespace
def test_a_worker_without_a_watch_takes_one_as_soon_as_it_can(bench: Bench) -> None:
    with bench.start_with_few("instances", 0) as process:
        eventually(lambda: "cannot watch" in process.said, "it has none")
        before = _inotify_instances(process)
        limit = "echo 100 > /proc/sys/user/max_inotify_instances"
        enter = ["nsenter", f"--user=/proc/{process.pid}/ns/user", "--preserve-credentials"]
        subprocess.run([*enter, "sh", "-c", limit], check=True)
        eventually(lambda: _inotify_instances(process) == 1, "it has a watch")
        bench.drop("a")
        bench.is_done("a")

    assert before == 0


@needs_namespace
def test_a_worker_that_can_watch_only_a_part_leaks_nothing(bench: Bench) -> None:
    with bench.start_with_few("watches", 3) as process:
        for number in range(4):
            bench.drop(f"job-{number}")
            bench.is_done(f"job-{number}")
        instances = _inotify_instances(process)
        tasks = len(list(Path(f"/proc/{process.pid}/task").iterdir()))

    assert instances <= 1
    assert tasks < 12, "a thread is left at each try"


@needs_namespace
@pytest.mark.parametrize("how", ["in place", "by rename"])
@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_change_to_a_waiting_job_is_seen_without_an_event(
    bench: Bench, how: str, state: str
) -> None:
    bench.queue.enqueue("true", id="a", run_at=FAR)
    path = bench.root / state / "a.json"
    if state == "failed":
        (bench.root / "pending" / "a.json").rename(path)
    with bench.start_with_few("instances", 0):
        bench.drop("b")
        bench.is_done("b")  # by then it has looked at all there is
        record = {**json.loads(path.read_bytes()), "run_at": "2026-01-01T00:00:00Z"}
        new = path if how == "in place" else bench.root / "tmp" / "edited"
        new.write_text(json.dumps(record))
        new.replace(path)
        bench.is_done("a")


def test_workers_that_are_told_to_stop_leave_every_time(bench: Bench) -> None:
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(bench.start(wait=False)) for _ in range(10)]
        eventually(lambda: all(" started: " in each.said for each in workers), "all have started")
        for process in workers:
            process.send(signal.SIGTERM)
        codes = [process.left(20) for process in workers]

    assert set(codes) == {0}


# -- a spool that changes --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pending", "failed", "done", "logs", "tmp"])
def test_a_directory_that_is_removed_under_a_worker_is_made_again(bench: Bench, name: str) -> None:
    with bench.start() as process:
        bench.drop("before")
        bench.is_done("before")
        shutil.rmtree(bench.root / name)
        eventually((bench.root / name).is_dir, f"{name}/ is made again")
        bench.queue.enqueue("true", id="a")
        bench.is_done("a")
        assert process.runs


@pytest.mark.parametrize("name", ["workers", "processing"])
def test_a_worker_that_is_struck_off_goes_on_or_leaves_with_an_error(
    bench: Bench, name: str
) -> None:
    """Without its lock file or its claims' directory it cannot hold claims any more."""
    with bench.start() as process:
        bench.drop("before")
        bench.is_done("before")
        shutil.rmtree(bench.root / name)
        eventually((bench.root / name).is_dir, f"{name}/ is made again")
        bench.queue.enqueue("true", id="a")
        done = bench.root / "done" / "a.json"
        eventually(lambda: done.exists() or not process.runs, "it goes on or leaves", 20)
        left, said = process.process.poll(), process.said
    with bench.start():
        bench.is_done("a")

    assert left is None or (left == 1 and "queuectl: error: " in said)


def test_pending_that_is_replaced_by_another_directory_is_watched_and_scanned(
    bench: Bench, figures: Callable[..., None]
) -> None:
    with bench.start() as process:
        for number in range(5):
            with contextlib.suppress(OSError):  # a worker that makes it again is as good
                (bench.root / "pending").rename(bench.directory / f"was-pending-{number}")
                (bench.root / "pending").mkdir()
            bench.drop(f"job-{number}")
            bench.is_done(f"job-{number}")
        assert process.runs

    figures("replaced pending/", times=5)


def _move(bench: Bench) -> None:
    bench.root.rename(bench.directory / "moved")


def _delete(bench: Bench) -> None:
    bench.root.rename(bench.directory / "doomed")  # so that the worker cannot make parts again
    shutil.rmtree(bench.directory / "doomed")


def _replace(bench: Bench) -> None:
    other = Queue(bench.directory / "other")
    other.enqueue("true", id="other")
    bench.root.rename(bench.directory / "moved")
    (bench.directory / "other").rename(bench.root)


def _replace_by_nothing_much(bench: Bench) -> None:
    bench.root.rename(bench.directory / "moved")
    bench.root.mkdir()


CHANGES = [_move, _delete, _replace, _replace_by_nothing_much]
each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__.strip("_"))


@each_change
def test_a_worker_whose_spool_is_gone_ends_with_an_error(
    bench: Bench, change: Callable[[Bench], None]
) -> None:
    with bench.start() as process:
        bench.drop("before")
        bench.is_done("before")
        change(bench)
        code = process.left()

    last = process.said.splitlines()[-1]
    assert code == 1, process.said
    assert last.startswith("queuectl: error: ")
    assert "gone" in last or "replaced" in last
    assert not (bench.root / "done" / "other.json").exists()


@each_change
def test_a_worker_whose_spool_is_gone_says_so_while_a_job_still_runs(
    bench: Bench, change: Callable[[Bench], None]
) -> None:
    with bench.start() as process:
        bench.runs(bench.hanging("a"))
        change(bench)
        try:
            eventually(lambda: "gone" in process.said or "replaced" in process.said, "it says so",
                       15)  # fmt: skip
        finally:
            bench.go.touch()
        assert process.left() == 1


def test_a_moved_spool_is_worked_on_where_it_is_now_and_nothing_is_lost(bench: Bench) -> None:
    names = [f"job-{number}" for number in range(5)]
    with bench.start() as first:
        bench.runs(bench.hanging("runs"))
        for name in names:
            bench.queue.enqueue("true", id=name, delay=2)
        _move(bench)
        bench.go.touch()
        assert first.left() == 1
    bench.root = bench.directory / "moved"
    with bench.start():
        bench.is_done("runs", *names)


# -- odd clocks ------------------------------------------------------------------------------

YEARS = {"year 20000": 568_971_820_800, "year 0": -62_167_219_200, "year -3000": -1e11, "1970": 0}


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="ext4 holds no such times")
@pytest.mark.parametrize("mtime", YEARS.values(), ids=YEARS)
def test_a_file_with_an_odd_time_is_run_and_stops_no_worker(mtime: float) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        bench = Bench(Path(directory))
        path = bench.drop("odd")
        os.utime(path, (0, mtime))
        with bench.start() as process:
            bench.drop("a")
            bench.is_done("a", "odd")
            os.utime(bench.root / "pending", (0, mtime))
            bench.drop("b")
            os.utime(bench.root / "pending", (0, mtime))
            bench.is_done("b")
            assert process.runs


SHIFTED_CLOCK = """\
import os, time
now, shift = time.time, os.environ["SHIFT"]
time.time = lambda: now() + float(open(shift).read())
"""


@pytest.fixture
def shift(bench: Bench) -> Callable[[float], dict[str, str]]:
    """Set a worker's wall clock off by so many seconds, now and while it runs."""
    code = bench.directory / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(SHIFTED_CLOCK)
    file = bench.directory / "shift"

    def by(seconds: float) -> dict[str, str]:
        new = file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(file)
        path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))
        return {"PYTHONPATH": path, "SHIFT": str(file)}

    return by


def test_a_clock_that_is_set_forward_makes_scheduled_jobs_due(
    bench: Bench, shift: Callable[[float], dict[str, str]]
) -> None:
    bench.queue.enqueue("true", id="later", run_at=FAR)
    with bench.start(env=shift(0)):
        bench.drop("a")
        bench.is_done("a")
        waited = not (bench.root / "done" / "later.json").exists()
        shift(40 * 86400.0)
        bench.is_done("later")

    assert waited


@pytest.mark.parametrize("days", [-20000.0, -400.0, 400.0, 2_000_000.0])
def test_a_clock_that_is_far_off_stops_nothing(
    bench: Bench, shift: Callable[[float], dict[str, str]], days: float
) -> None:
    bench.queue.set_setting("backoff_base", "0")
    started = time.monotonic()
    with bench.start(env=shift(0)) as process:
        bench.drop("a")
        bench.is_done("a")
        shift(days * 86400)
        marker = bench.directory / "second"
        bench.drop("b", command=f"[ -e {marker} ] || {{ touch {marker}; exit 1; }}")
        bench.drop("c")
        bench.is_done("b", "c")
        assert process.runs

    assert time.monotonic() > started

"""A disk that is full, read-only or dead under running workers, and then perhaps well again."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.harness.disk_bench import Bench
from faults.harness.mounts import (
    SMALL,
    FaultyDisk,
    SmallDisk,
    faulty_disk,
    rule,
    small_disk,
    why_not,
)
from helpers.processes import WorkerProcess, none_left, queuectl
from helpers.waiting import eventually

pytestmark = [
    *(
        pytest.mark.skipif(why_not(kind) is not None, reason=str(why_not(kind)))
        for kind in ("tmpfs", "ext4")
    ),
    pytest.mark.timeout(180),
]
needs_fuse = pytest.mark.skipif(why_not("fuse") is not None, reason=str(why_not("fuse")))
when_full = pytest.mark.parametrize("what", SMALL)

NO_SPACE = "No space left on device"
CHANGING = ("create", "write", "truncate", "rename", "link", "unlink", "mkdir", "rmdir", "chmod",
            "utimens")  # fmt: skip


def _is_tried_again(process: WorkerProcess, name: str, times: int) -> None:
    eventually(lambda: len(_pauses(process, name)) >= times, f"{name} is tried again")


def _waits_long(process: WorkerProcess, name: str) -> None:
    eventually(lambda: max(_pauses(process, name), default=0) > 1, f"{name} waits")


def _pauses(process: WorkerProcess, about: str = "") -> list[float]:
    """How long it said, time after time, that it would wait before it tries again."""
    lines = [line for line in process.said.splitlines() if about in line]
    return [float(n) for line in lines for n in re.findall(r"trying again in ([\d.]+) s", line)]


@pytest.fixture
def full(tmp_path: Path, what: str) -> Iterator[tuple[Bench, SmallDisk]]:
    """A spool on a disk that `what` of can be used up."""
    with small_disk(tmp_path, SMALL[what]) as disk:
        bench = Bench(tmp_path, disk.path)
        with none_left(bench.mark):
            yield bench, disk


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[tuple[Bench, FaultyDisk]]:
    """A spool on a disk that fails as it is told."""
    with faulty_disk(tmp_path) as disk:
        bench = Bench(tmp_path, disk.path)
        with none_left(bench.mark):
            yield bench, disk


# -- full ------------------------------------------------------------------------------------


@when_full
def test_a_disk_that_fills_up_while_jobs_run_loses_none_and_reruns_none(
    full: tuple[Bench, SmallDisk], what: str, figures: Callable[..., None]
) -> None:
    bench, disk = full
    names = [f"job-{number}" for number in range(6)]
    for name in names:
        bench.enqueue(name)
    with bench.start() as process:
        bench.begun(*names[:2])
        disk.fill(what)
        bench.let_go()
        for name in names[:2]:
            _is_tried_again(process, name, 4)
        while_full, pauses = bench.ran, _pauses(process, names[0])
        disk.free()
        bench.is_over(*names)
        assert process.runs

    figures("full disk", jobs=len(names), pauses=len(pauses))
    assert set(while_full) == set(names[:2]), "a job was started while another was unsettled"
    assert bench.ran == Counter(names)
    assert NO_SPACE in process.said
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 4 * pauses[0], "the pauses grow"


@when_full
def test_a_job_that_cannot_be_started_on_a_full_disk_is_started_when_there_is_space(
    full: tuple[Bench, SmallDisk], what: str
) -> None:
    bench, disk = full
    bench.enqueue("before")
    (bench.root / "tmp" / "late").write_text(json.dumps({"command": bench._command("late")}))
    bench.let_go()
    with bench.start() as process:
        bench.is_over("before")
        disk.fill(what)
        bench.drop("late")
        eventually(lambda: len(_pauses(process, "late")) >= 2, "the worker says so")
        disk.free()
        bench.is_over("late")
        assert process.runs

    # ext4 finds a block for a small file in places where df sees none: then only settling fails.
    assert NO_SPACE in process.said
    assert (bench.ran["late"], bench.outcomes("late")) == (1, ["ok"])


@when_full
def test_a_worker_that_cannot_enrol_on_a_full_disk_says_so_in_one_line(
    full: tuple[Bench, SmallDisk], what: str
) -> None:
    bench, disk = full
    bench.enqueue("a")
    disk.fill(what)
    done = queuectl(bench.root, "worker", "start", "--drain")
    disk.free()

    assert (done.returncode, done.stdout) == (1, "")
    assert [line.startswith("queuectl: error: ") for line in done.stderr.splitlines()] == [True]
    assert NO_SPACE in done.stderr
    bench.let_go()
    with bench.start(1, "--drain") as process:
        assert process.left() == 0
    assert bench.ran == Counter(["a"])


BATCH = "".join(json.dumps({"command": "true", "n": n}) + "\n" for n in range(300))
NAMED = "".join(json.dumps({"command": "true", "id": f"new-{n}"}) + "\n" for n in range(300))


@when_full
@pytest.mark.parametrize(
    ("arguments", "lines", "but"),
    [
        (["enqueue", "true"], "", 0),
        (["enqueue", "--id", "new", "true"], "", 0),
        (["enqueue", "-"], BATCH, 0),
        (["enqueue", "-"], BATCH, 200_000),
        (["enqueue", "-"], NAMED, 200_000),
    ],
    ids=["one", "named", "batch", "batch cut in the middle", "named batch cut in the middle"],
)
def test_an_enqueue_on_a_full_disk_fails_with_one_line_and_leaves_nothing(
    full: tuple[Bench, SmallDisk], what: str, arguments: list[str], lines: str, but: int
) -> None:
    bench, disk = full
    disk.fill("bytes" if what == "ext4" else what, but=but)
    before = sorted(os.listdir(bench.root / "tmp"))
    done = queuectl(bench.root, *arguments, input=lines)
    left = [path.name for path in (bench.root / "pending").iterdir() if path.name != ".lock"]

    assert (done.returncode, done.stdout) == (1, "")
    assert [line.startswith("queuectl: error: ") for line in done.stderr.splitlines()] == [True]
    assert NO_SPACE in done.stderr
    assert left == []
    assert sorted(os.listdir(bench.root / "tmp")) == before


@when_full
def test_a_change_on_a_full_disk_fails_with_one_line_and_loses_nothing(
    full: tuple[Bench, SmallDisk], what: str
) -> None:
    bench, disk = full
    bench.let_go()
    bench.queue.enqueue("exit 1", id="gone", max_retries=0)
    with bench.start(1, "--drain") as process:
        assert process.left() == 0
    bench.enqueue("waits")
    disk.fill(what)
    changes = [("cancel", "waits"), ("dlq", "retry", "gone"), ("config", "set", "max_retries", "9")]
    done = [queuectl(bench.root, *change) for change in changes]
    leftovers = os.listdir(bench.root / "tmp")
    disk.free()
    with bench.start(1, "--drain") as process:
        assert process.left() == 0

    for each in done:
        assert each.returncode == 1, each
        assert [line.startswith("queuectl: error: ") for line in each.stderr.splitlines()] == [True]
    assert leftovers == []
    assert bench.queue.settings.max_retries == 3
    assert {s.id: s.state for s in bench.queue.list()} == {"waits": "completed", "gone": "dead"}


# -- read-only, dead -------------------------------------------------------------------------


@pytest.mark.parametrize("break_it", [SmallDisk.fail, SmallDisk.shut_down], ids=["ro", "eio"])
def test_a_worker_on_an_ext4_that_breaks_is_honest_and_leaves_when_told_to(
    tmp_path: Path, break_it: Callable[[SmallDisk], None], figures: Callable[..., None]
) -> None:
    with small_disk(tmp_path, "ext4") as disk:
        bench = Bench(tmp_path, disk.path)
        with none_left(bench.mark):
            names = ["a", "b", "c", "d"]
            for name in names:
                bench.enqueue(name)
            with bench.start() as process:
                bench.begun("a", "b")
                os.sync()
                break_it(disk)
                bench.let_go()
                eventually(lambda: len(_pauses(process)) >= 6 or not process.runs, "complaints")
                process.send(signal.SIGTERM)  # a second one at once would be one with the first
                eventually(lambda: "stopping" in process.said, "it has heard")
                process.send(signal.SIGTERM)
                process.left()
            broken = bench.ran
            disk.unmount()
            disk.mount()
            with bench.start(2, "--drain") as after:
                assert after.left(60) == 0
            states = {status.id: status.state for status in bench.queue.list()}

    figures("broken ext4", jobs=len(names), complaints=len(process.complaints))
    assert set(broken) == {"a", "b"}
    assert "Input/output error" in process.said or "Read-only file system" in process.said
    assert "Traceback" not in process.said
    assert states == dict.fromkeys(names, "completed")
    assert {name: bench.ran[name] for name in ("c", "d")} == {"c": 1, "d": 1}


@needs_fuse
@pytest.mark.parametrize("error", ["EROFS", "ENOSPC", "EDQUOT"])
def test_a_disk_that_refuses_every_change_and_then_none_loses_and_reruns_nothing(
    faulty: tuple[Bench, FaultyDisk], error: str, figures: Callable[..., None]
) -> None:
    bench, disk = faulty
    names = ["a", "b", "c", "d"]
    for name in names:
        bench.enqueue(name)
    with bench.start() as process:
        bench.begun("a", "b")
        disk.fail(rule(error, "", *CHANGING))
        bench.let_go()
        for name in ("a", "b"):
            _is_tried_again(process, name, 3)
        meanwhile = bench.ran
        disk.heal()
        bench.is_over(*names)
        assert process.runs

    figures("refusing disk", jobs=len(names))
    assert set(meanwhile) == {"a", "b"}
    assert bench.ran == Counter(names)
    assert all(bench.outcomes(name) == ["ok"] for name in names)


@needs_fuse
def test_a_worker_whose_disk_answers_eio_to_everything_does_not_spin_and_goes_on_after(
    faulty: tuple[Bench, FaultyDisk], figures: Callable[..., None]
) -> None:
    bench, disk = faulty
    names = ["a", "b", "c", "d"]
    for name in names:
        bench.enqueue(name)
    with bench.start() as process:
        bench.begun("a", "b")
        disk.fail(rule("EIO"))
        bench.let_go()
        for name in ("a", "b"):
            _waits_long(process, name)
        complaints, pauses = len(process.complaints), _pauses(process, "job a ")
        disk.heal()
        bench.is_over(*names)
        assert process.runs

    figures("EIO on everything", complaints=complaints)
    assert bench.ran == Counter(names)
    assert pauses == sorted(pauses)
    # By then some three seconds have passed: two slots and the housekeeper have each said it
    # a few times, once for each part of their work.
    assert complaints < 100
    assert "Traceback" not in process.said


PLACES = {
    "the claim": rule("EIO", "-> /spool/processing/", "rename"),
    "the claim's durability": rule("EIO", "/spool/processing", "fsyncdir"),
    "the log": rule("EIO", "/spool/logs/", "create"),
    "the run file": rule("EIO", ".run", "create", "write"),
    "the list of what waits": rule("EIO", "/spool/pending", "readdir"),
    "the job's file": rule("EIO", "/spool/pending/late", "open", "read"),
    "the outcome's bytes": rule("EIO", "/spool/tmp/", "write"),
    "the outcome's durability": rule("EIO", "/spool/tmp/", "fsync"),
    "the outcome's rename": rule("EIO", "/spool/tmp/", "rename"),
    "the move to done": rule("EIO", "/spool/done", "rename", "link"),  # link: libfuse 2
    "its durability": rule("EIO", "/spool/done", "fsyncdir"),
}


@needs_fuse
@pytest.mark.parametrize("place", PLACES)
def test_a_job_comes_through_an_eio_at(
    faulty: tuple[Bench, FaultyDisk], place: str, figures: Callable[..., None]
) -> None:
    bench, disk = faulty
    bench.let_go()
    with bench.start(1) as process:
        disk.fail(PLACES[place])
        bench.drop("late", disk.backing / "spool" / "pending")  # so that no event tells of it
        eventually(lambda: "Input/output error" in process.said, "the worker says so")
        disk.heal()
        bench.is_over("late")
        assert process.runs

    figures("EIO at one place", places=1)
    assert (bench.ran["late"], bench.outcomes("late")) == (1, ["ok"])


@needs_fuse
def test_a_job_that_can_be_neither_started_nor_put_back_is_not_forgotten(
    faulty: tuple[Bench, FaultyDisk],
) -> None:
    bench, disk = faulty
    bench.let_go()
    with bench.start(1) as process:
        disk.fail(
            rule("EIO", "/logs/", "create"), rule("EIO", "-> /spool/pending/", "rename", "link")
        )
        bench.drop("late", disk.backing / "spool" / "pending")
        eventually(lambda: "cannot be put back" in process.said, "the worker says so")
        disk.heal()
        bench.is_over("late")


@needs_fuse
def test_short_writes_are_no_error(faulty: tuple[Bench, FaultyDisk]) -> None:
    bench, disk = faulty
    bench.let_go()
    disk.fail({"short": 3, "path": ""})
    bench.enqueue("a", extra={"payload": "x" * 2000})
    bench.queue.set_setting("max_retries", "7")
    batch = bench.queue.enqueue_many([{"command": "true", "n": n} for n in range(3)])
    with bench.start(2, "--drain") as process:
        assert process.left(60) == 0

    assert bench.queue.settings.max_retries == 7
    assert {s.id: s.state for s in bench.queue.list()} == dict.fromkeys(["a", *batch], "completed")
    assert len(json.loads((bench.root / "done" / "a.json").read_bytes())["payload"]) == 2000

"""Whatever is dropped into `pending/` is run, or is dead with the reason, or is left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.record.job import STATES
from queuectl.spool.places import Unfit
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool

HALF = b'{"command": "true", "pri'
NO_JOBS: list[Any] = [
    pytest.param("a.json", b"[]", "a", "not a JSON object", id="array"),
    pytest.param("a.json", HALF, "a", "not a JSON object", id="half"),
    pytest.param("a.json", b"", "a", "empty", id="empty"),
    pytest.param("a.json", bytes(range(256)), "a", "not UTF-8", id="binary"),
    pytest.param("a.json", b"\0" * 4096, "a", "not a JSON object", id="zeros"),
    pytest.param("a.json", b"x" * 5_000_000, "a", "not a JSON object", id="5 MB"),
    pytest.param(
        "a.json",
        b'{"command": "true", "x": "' + b"x" * 5_000_000 + b'"}',
        "a",
        "at most 1,048,576",
        id="a job of 5 MB",
    ),
    pytest.param("a.json", b"x" * 17_000_000, "a", "larger than any job", id="17 MB"),
    pytest.param("a.json", b'{"command": ""}', "a", "command", id="no command"),
    pytest.param("a.json", b'{"command": "true", "id": "../b"}', "a", "id", id="bad id"),
    pytest.param("a.json", b'{"command": "true", "run_at": "x"}', "a", "run_at", id="bad time"),
    pytest.param("a\nb.json", b"{}", "a_b", "dropped as", id="newline in its name"),
    pytest.param("ü b.json", b'{"command": "true"}', "b", "name is not a valid job id", id="name"),
    pytest.param("*.json", b'{"command": "true"}', "unnamed", "not a valid job id", id="star"),
    pytest.param(b"a\xff.json", b"[]", "a_", "not a JSON object", id="invalid UTF-8 in its name"),
    pytest.param(
        b"\xff.json", b'{"command": "true"}', "unnamed", "not a valid job id", id="no name"
    ),
    pytest.param(f"{'x' * 200}.json", b"[]", "x" * 100, "dropped as", id="long name"),
]


@pytest.fixture
def drop_raw(root: Path) -> Callable[..., bytes]:
    """Drop a file under a name that may be bytes."""

    def put(name: str | bytes, data: bytes) -> bytes:
        path = os.fsencode(root / "pending") + b"/" + os.fsencode(name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    return put


@pytest.mark.parametrize(("name", "data", "job_id", "reason"), NO_JOBS)
def test_a_file_that_is_no_job_is_dead_untouched_and_with_the_reason(
    queue: Queue,
    root: Path,
    drop_raw: Callable[..., bytes],
    drain: Callable[..., Any],
    name: str | bytes,
    data: bytes,
    job_id: str,
    reason: str,
) -> None:
    drop_raw(name, data)
    drain(queue)
    (found,) = queue.list()
    assert (found.id, found.state) == (job_id, "dead")
    assert (root / "dead" / f"{job_id}.json").read_bytes() == data
    assert reason in (root / "dead" / f"{job_id}.error").read_text()
    assert found.problem == (root / "dead" / f"{job_id}.error").read_text().strip()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "loop", "fifo", "directory", "full"])
def test_what_is_no_file_is_dead_as_it_is(
    queue: Queue, root: Path, tmp_path: Path, drain: Callable[..., Any], kind: str
) -> None:
    path = root / "pending" / "a.json"
    (tmp_path / "job").write_text('{"command": "true"}')
    match kind:
        case "symlink":
            path.symlink_to(tmp_path / "job")
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "loop":
            path.symlink_to(path)
        case "fifo":
            os.mkfifo(path)
        case _:
            path.mkdir()
            if kind == "full":
                (path / "inside").write_text("x")
    before = path.lstat()
    drain(queue)
    (found,) = queue.list()
    assert (found.id, found.state) == ("a", "dead")
    assert os.path.samestat((root / "dead" / "a.json").lstat(), before)
    words = "symbolic link" if kind in ("symlink", "dangling", "loop") else kind
    assert words.replace("full", "directory") in found.problem.replace("FIFO", "fifo")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_a_stranger_is_not_run(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    os.chown(drop("a.json"), 4711, 4711)
    drain(queue)
    (found,) = queue.list()
    assert found.state == "dead"
    assert "4711" in str(found.problem)


@pytest.mark.parametrize(
    "name",
    [".a.json", ".json", "a.json~", "a.json.tmp", "a.json.swp", "a.JSON", "#a.json#", "4913"],
)
def test_what_is_not_named_as_a_job_is_left_alone(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any], name: str
) -> None:
    path = drop(name, '{"command": "true"}')
    drain(queue)
    assert path.exists()
    assert queue.status().jobs == dict.fromkeys(STATES, 0)


def test_an_editor_that_saves_in_its_own_way_makes_one_job(
    queue: Queue, root: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    drop("a.json", '{"command": "false"}')
    drop(".a.json.swp", "b0VIM 9.1")
    drop("4913", "")
    (root / "pending" / "a.json").rename(root / "pending" / "a.json~")
    drop("a.json", '{"command": "true"}')
    drain(queue)
    assert [(found.id, found.state) for found in queue.list()] == [("a", "completed")]


def test_a_job_that_is_written_slowly_is_not_bad_but_run(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
) -> None:
    queue.set_setting("quiet_period", "0.05")
    whole = b'{"command": "true", "id": "slow"}'

    def write(worker: Any) -> None:
        with open(root / "pending" / "slow.json", "wb", buffering=0) as file:
            file.write(whole[:10])
            eventually(lambda: ("pending", "slow.json") in worker._intake.unready)
            # Many more times the quiet period than it takes: a later file is found bad first.
            (root / "pending" / "bad.json").write_bytes(HALF)
            eventually(lambda: queue.spool.reader.counts()["dead"])
            file.write(whole[10:])
        eventually(lambda: queue.spool.reader.counts()["completed"])
        worker.stop()

    work(queue, write)
    assert queue.get("slow").state == "completed"


def test_a_half_file_that_is_completed_in_time_is_run(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    queue.set_setting("quiet_period", "60")

    def complete(worker: Any) -> None:
        path = root / "pending" / "a.json"
        path.write_bytes(HALF)
        eventually(lambda: ("pending", "a.json") in worker._intake.unready)
        path.write_bytes(b'{"command": "true"}')
        eventually(lambda: queue.spool.reader.counts()["completed"])
        worker.stop()

    work(queue, complete)
    assert queue.get("a").state == "completed"


def test_a_bad_file_never_takes_the_place_of_a_dead_job(
    queue: Queue, root: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    drop("a.json", '{"command": "true", "x": "theirs"}', state="dead")
    drop("a.json", "[]")
    drain(queue)
    assert "theirs" in (root / "dead" / "a.json").read_text()
    assert (root / "dead" / "a.2.json").read_text() == "[]"
    assert "not a JSON object" in str(queue.get("a.2").problem)


def test_a_dropped_job_was_created_when_it_was_written(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    os.utime(drop("a.json"), (1_000_000_000, 1_000_000_000))
    drain(queue)
    assert queue.get("a").job.created_at == "2001-09-09T01:46:40.000000Z"


def test_a_dropped_job_that_says_when_it_was_created_is_believed(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    drop("a.json", '{"command": "true", "created_at": "2000-01-01T00:00:00Z"}')
    drain(queue)
    assert queue.get("a").job.created_at == "2000-01-01T00:00:00Z"


@pytest.mark.parametrize("mtime", [0, -(10**9), 10**12])
def test_a_job_that_claims_to_be_of_another_age_is_run_all_the_same(
    queue: Queue,
    drop: Callable[..., Path],
    drain: Callable[..., Any],
    mtime: int,
) -> None:
    os.utime(drop("a.json"), (mtime, mtime))
    drain(queue)
    assert queue.get("a").state == "completed"


@pytest.mark.parametrize("text", ["1e400", "[1.10, -0.0]", "123456789012345678901234567890"])
def test_what_a_submitter_added_is_there_in_the_end_and_can_be_shown(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any], text: str
) -> None:
    drop("a.json", f'{{"command": "true", "x": {text}}}')
    drain(queue)
    found = queue.get("a")
    assert _as_written(Path(found.path).read_text())["x"] == _as_written(text)
    assert found.to_dict()["state"] == "completed"


def _as_written(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str)


def test_an_id_that_is_dropped_twice_runs_twice_at_once_in_one_worker(
    queue: Queue, root: Path, drop: Callable[..., Path], work: Callable[..., Any],
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    meet = f"touch {root}/$QUEUECTL_JOB_ID; while [ ! -e {root}/go ]; do sleep 0.01; done"
    job = json.dumps({"command": meet})

    def drop_both(worker: Any) -> None:
        drop("a.json", job)
        eventually((root / "a").exists)
        drop("a.json", job)
        eventually((root / "a.2").exists)
        (root / "go").touch()
        queue.wait(["a", "a.2"], timeout=20)
        worker.stop()

    assert work(queue, drop_both, slots=2).tally.ok == 2


def test_a_file_that_took_the_place_of_a_bad_one_is_not_rejected(
    spool: Spool, drop: Callable[..., Path], stands: Callable[[], list[str]]
) -> None:
    drop("a.json", HALF)
    bad = spool.reader.look("pending", "a.json")
    assert isinstance(bad, Unfit)
    drop("a.json")
    assert reject(spool, spool.layout.entry("pending", "a.json"), bad.reason, seen=bad) is None
    assert stands() == ["pending/a.json"]
    assert not [*Path(spool.layout.states["dead"]).iterdir()]

"""Files that any program puts into pending/, good and bad, under a worker that is running."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess

GOOD = '{"command": "echo hi"}'
BAD = {
    "an empty array": (b"[]", "not a JSON object"),
    "a number": (b"17", "not a JSON object"),
    "half an object": (b'{"command": "ec', "not a JSON object"),
    "two objects": (b'{"command": "true"}{"command": "true"}', "not a JSON object"),
    "nothing": (b"", "empty"),
    "blanks": (b" \n\t\n", "empty"),
    "binary": (bytes(range(256)) * 4, "UTF-8"),
    "zeros": (bytes(4096), "not a JSON object"),
    "UTF-16": ('{"command": "true"}'.encode("utf-16"), "UTF-8"),
    "no command": (b'{"id": "x"}', "command"),
    "a bad type": (b'{"command": "true", "priority": "high"}', "priority"),
    "a bad id": (b'{"command": "true", "id": "../../etc/passwd"}', "id"),
    "a time without a zone": (b'{"command": "true", "run_at": "2026-01-01T10:00:00"}', "run_at"),
    "five megabytes": (b'{"command": "true", "data": "' + b"x" * (5 << 20) + b'"}', "1,048,576"),
    "fifty megabytes": (b'{"command": "true", "data": "' + b"x" * (50 << 20) + b'"}', "larger"),
    "a deep one": (b'{"command": ' + b"[" * 100_000, "nested"),
}  # fmt: skip


@pytest.fixture
def runs_a_good_job(spool: Spool, eventually: Eventually) -> Callable[[], None]:
    """Whether the worker still does its work."""

    def check() -> None:
        spool.drop("good.json", GOOD)
        eventually(lambda: spool.is_in("completed", "good"))

    return check


class TestGoodFiles:
    def test_one_that_is_copied_in(
        self, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
    ) -> None:
        worker()
        (tmp_path / "job.json").write_text(GOOD)
        subprocess.run(["cp", tmp_path / "job.json", spool.root / "pending" / "a.json"], check=True)
        eventually(lambda: spool.is_in("completed", "a"))

    def test_one_that_is_moved_in(
        self, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
    ) -> None:
        worker()
        (tmp_path / "job.json").write_text(GOOD)
        subprocess.run(["mv", tmp_path / "job.json", spool.root / "pending" / "a.json"], check=True)
        eventually(lambda: spool.is_in("completed", "a"))

    def test_one_that_is_linked_in(
        self, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
    ) -> None:
        worker()
        (tmp_path / "job.json").write_text(GOOD)
        os.link(tmp_path / "job.json", spool.root / "pending" / "a.json")
        eventually(lambda: spool.is_in("completed", "a"))

    def test_its_name_is_its_id(
        self, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        spool.drop("report-2026.11.json", GOOD)
        eventually(lambda: spool.is_in("completed", "report-2026.11"))

    def test_the_id_inside_wins_over_its_name(
        self, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        spool.drop("one.json", '{"command": "true", "id": "other"}')
        eventually(lambda: spool.is_in("completed", "other"))
        assert spool.find("one") is None

    def test_a_name_that_is_no_id_will_do_where_there_is_an_id_inside(
        self, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        spool.drop("my job (copy).json", '{"command": "true", "id": "a"}')
        eventually(lambda: spool.is_in("completed", "a"))

    def test_what_else_stands_in_it_is_kept(
        self, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        spool.drop("a.json", '{"x": [1, 2.50, {"y": null}], "command": "true", "state": "dead"}')
        eventually(lambda: spool.is_in("completed", "a"))
        record = spool.record("a")
        assert record["x"] == [1, 2.5, {"y": None}]
        assert "2.50" in spool.where("a")[1].read_text()
        assert "state" not in record

    def test_one_that_was_there_before_the_worker(
        self, spool: Spool, settings: Configure, worker: StartWorker, eventually: Eventually
    ) -> None:
        settings()
        spool.drop("a.json", GOOD)
        worker()
        eventually(lambda: spool.is_in("completed", "a"))

    def test_one_that_is_written_slowly_runs_once_it_is_whole(
        self,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> None:
        """The pauses are longer than quiet_period: that it is held open is what saves it."""
        settings(quiet_period=1)
        process = worker()
        ran = tmp_path / "ran"
        data = json.dumps({"command": f"echo once >> {ran}"})
        cpu = process.cpu_seconds
        with (spool.root / "pending" / "slow.json").open("w") as file:
            for start in range(0, len(data), len(data) // 4 + 1):
                if start:
                    time.sleep(2)
                    assert spool.is_in("pending", "slow")
                file.write(data[start : start + len(data) // 4 + 1])
                file.flush()
        eventually(lambda: spool.is_in("completed", "slow"))
        assert ran.read_text() == "once\n"
        assert process.cpu_seconds - cpu < 2


class TestMovesByHand:
    def test_a_dead_job_moved_to_pending_runs_once_more(
        self,
        spool: Spool,
        settings: Configure,
        queuectl: Queuectl,
        worker: StartWorker,
        eventually: Eventually,
    ) -> None:
        settings(max_retries=0)
        queuectl("enqueue", "--id", "a", "false")
        worker()
        eventually(lambda: spool.is_in("dead", "a"))
        spool.where("a")[1].rename(spool.root / "pending" / "a.json")
        eventually(lambda: spool.is_in("dead", "a") and len(spool.record("a")["history"]) == 2)

    def test_a_completed_job_moved_to_pending_runs_once_more(
        self, spool: Spool, queuectl: Queuectl, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "true")
        worker()
        eventually(lambda: spool.is_in("completed", "a"))
        spool.where("a")[1].rename(spool.root / "pending" / "a.json")
        eventually(lambda: spool.is_in("completed", "a") and len(spool.record("a")["history"]) == 2)

    def test_a_job_moved_out_of_pending_does_not_run(
        self,
        spool: Spool,
        queuectl: Queuectl,
        worker: StartWorker,
        runs_a_good_job: Callable[[], None],
        tmp_path: Path,
    ) -> None:
        queuectl("enqueue", "--id", "a", "--delay", "1.5", f"touch {tmp_path}/ran")
        worker()
        spool.where("a")[1].rename(tmp_path / "kept.json")
        queuectl("enqueue", "--id", "b", "--delay", "2", "true")
        queuectl("wait", "b")
        assert not (tmp_path / "ran").exists()

    def test_an_edited_job_runs_as_it_stands_then(
        self,
        spool: Spool,
        queuectl: Queuectl,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> None:
        queuectl("enqueue", "--id", "a", "--delay", "1h", "echo old")
        worker()
        record = spool.record("a")
        del record["run_at"]
        spool.drop("a.json", json.dumps({**record, "command": "echo new"}))
        eventually(lambda: spool.is_in("completed", "a"))
        assert queuectl("logs", "a").out == "new\n"


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD)
class TestBadFiles:
    @pytest.fixture
    def dropped(
        self, spool: Spool, worker: StartWorker, eventually: Eventually, data: bytes | str
    ) -> WorkerProcess:
        process = worker()
        spool.drop("x.json", data)
        eventually(lambda: (spool.root / "dead" / "x.error").exists())
        return process

    def test_it_is_dead_with_its_bytes_untouched(
        self, dropped: Any, spool: Spool, data: bytes | str, reason: str
    ) -> None:
        assert [path.name for path in spool.files("dead")] == ["x.json"]
        assert (spool.root / "dead" / "x.json").read_bytes() == data

    def test_the_reason_is_listed_and_the_worker_goes_on(
        self,
        dropped: Any,
        queuectl: Queuectl,
        data: str,
        reason: str,
        runs_a_good_job: Callable[[], None],
    ) -> None:
        (listed,) = queuectl.json("dlq", "list")
        assert reason in listed["problem"]
        assert reason in queuectl("dlq", "list").out
        runs_a_good_job()


class TestThingsThatAreNoFiles:
    @pytest.fixture(params=["a symbolic link", "a dangling link", "a FIFO", "a directory"])
    def dropped(
        self,
        request: pytest.FixtureRequest,
        spool: Spool,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> Any:
        process = worker()
        path = spool.root / "pending" / "x.json"
        (tmp_path / "secret.json").write_text(GOOD)
        match request.param:
            case "a symbolic link":
                path.symlink_to(tmp_path / "secret.json")
            case "a dangling link":
                path.symlink_to(tmp_path / "nowhere")
            case "a FIFO":
                os.mkfifo(path)
            case "a directory":
                path.mkdir()
                (path / "inside.json").write_text(GOOD)
        eventually(lambda: (spool.root / "dead" / "x.error").exists())
        return process, request.param

    def test_it_goes_to_dead_with_the_reason(
        self, dropped: Any, spool: Spool, queuectl: Queuectl
    ) -> None:
        (listed,) = queuectl.json("dlq", "list")
        assert dropped[1].replace("dangling", "symbolic") in listed["problem"]
        assert dropped[1].replace("dangling", "symbolic") in queuectl("dlq", "list").out

    def test_it_is_moved_as_it_is(self, dropped: Any, spool: Spool, tmp_path: Path) -> None:
        moved = spool.root / "dead" / "x.json"
        assert {
            "a symbolic link": moved.is_symlink,
            "a dangling link": moved.is_symlink,
            "a FIFO": moved.is_fifo,
            "a directory": (moved / "inside.json").is_file,
        }[dropped[1]]()
        assert (tmp_path / "secret.json").read_text() == GOOD

    def test_the_worker_goes_on(self, dropped: Any, runs_a_good_job: Callable[[], None]) -> None:
        runs_a_good_job()

    def test_every_command_can_stand_it(self, dropped: Any, queuectl: Queuectl) -> None:
        for words in (["list"], ["show", "x"], ["status"], ["dlq", "list"]):
            queuectl(*words)

    def test_it_can_be_purged(
        self, dropped: Any, queuectl: Queuectl, spool: Spool, tmp_path: Path
    ) -> None:
        queuectl("dlq", "purge")
        assert list((spool.root / "dead").iterdir()) == []
        assert (tmp_path / "secret.json").read_text() == GOOD


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline.json",
        b"\xff\xfe.json",
        b"a b.json",
        "日本.json".encode(),
        b"-rf.json",
        b"x" * 120 + b".json",
    ],
    ids=["a newline", "no UTF-8", "a blank", "other letters", "an option", "too long"],
)
def test_a_name_that_is_no_id_is_told_and_the_file_is_kept(
    spool: Spool,
    queuectl: Queuectl,
    worker: StartWorker,
    eventually: Eventually,
    runs_a_good_job: Callable[[], None],
    name: bytes,
) -> None:
    worker()
    staged = os.fsencode(spool.root / "tmp" / "staged")
    with open(staged, "w") as file:
        file.write(GOOD)
    os.rename(staged, os.path.join(os.fsencode(spool.root / "pending"), name))
    eventually(lambda: list((spool.root / "dead").glob("*.error")))
    (kept,) = spool.files("dead")
    assert kept.read_text() == GOOD
    (listed,) = queuectl.json("dlq", "list")
    assert "not a valid job id" in listed["problem"]
    runs_a_good_job()


@pytest.mark.parametrize(
    "name",
    [".x.json.swp", ".x.json", "x.json~", "#x.json#", "4913", "x.json.tmp", "x.txt", ".json"],
)
def test_what_editors_leave_is_let_alone(
    spool: Spool, worker: StartWorker, runs_a_good_job: Callable[[], None], name: str
) -> None:
    worker()
    path = spool.drop(name, GOOD)
    runs_a_good_job()
    assert path.read_text() == GOOD
    assert spool.count("dead") == 0


class TestIdsThatAreTaken:
    def test_of_two_files_of_one_id_both_run(
        self,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> None:
        settings()
        for name in ("one", "two"):
            job = {"id": "same", "command": f"echo {name} >> {tmp_path}/ran"}
            spool.drop(f"{name}.json", json.dumps(job))
        worker("--count", "2")
        eventually(lambda: spool.is_in("completed", "same", "same.2"))
        assert sorted((tmp_path / "ran").read_text().split()) == ["one", "two"]

    def test_one_that_is_done_is_not_overwritten(
        self, spool: Spool, queuectl: Queuectl, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "same", "echo first")
        worker()
        eventually(lambda: spool.is_in("completed", "same"))
        before = (spool.root / "done" / "same.json").read_bytes()
        spool.drop("same.json", '{"command": "echo second"}')
        eventually(lambda: spool.is_in("completed", "same.2"))
        assert (spool.root / "done" / "same.json").read_bytes() == before
        assert queuectl("logs", "same.2").out == "second\n"
        assert queuectl("logs", "same").out == "first\n"

    def test_bad_files_of_one_name_are_all_kept(
        self, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        for n in range(3):
            spool.drop("x.json", f"bad {n}")
            eventually(lambda n=n: spool.count("dead") == n + 1)
        assert sorted(path.read_text() for path in spool.files("dead")) == [
            "bad 0", "bad 1", "bad 2",
        ]  # fmt: skip


class TestAnIdleWorkerRests:
    """Measured over two seconds; the bound, half a processor, is far above what rest costs."""

    @pytest.mark.parametrize("beside", ["nothing", "a file held open", "a directory", "no rights"])
    def test_whatever_lies_in_pending(
        self, spool: Spool, worker: StartWorker, eventually: Eventually, beside: Any
    ) -> None:
        process = worker()
        path = spool.root / "pending" / "x.json"
        held = None
        if beside == "a file held open":
            held = path.open("w")
            held.write('{"comm')
            held.flush()
        elif beside == "a directory":
            path.mkdir()
        elif beside == "no rights":
            path.write_text("{")
            path.chmod(0)
        before, since = process.cpu_seconds, time.monotonic()
        time.sleep(2)
        share = (process.cpu_seconds - before) / (time.monotonic() - since)
        if held:
            assert spool.is_in("pending", "x")
            held.close()
        assert share < 0.5


def test_a_job_that_is_retried_leaves_no_reason_behind(
    spool: Spool, queuectl: Queuectl, worker: StartWorker, eventually: Eventually
) -> None:
    worker()
    spool.drop("my job.json", GOOD)
    eventually(lambda: (spool.root / "dead" / "my_job.error").exists())
    queuectl("dlq", "retry", "my_job")
    eventually(lambda: spool.is_in("completed", "my_job"))
    assert not (spool.root / "dead" / "my_job.error").exists()


def test_an_invalid_job_is_mended_and_retried(
    spool: Spool, queuectl: Queuectl, worker: StartWorker, eventually: Eventually
) -> None:
    worker()
    spool.drop("x.json", '{"comand": "echo mended"}')
    eventually(lambda: (spool.root / "dead" / "x.error").exists())
    assert "command" in queuectl.error("dlq", "retry", "x", code=1)
    assert spool.is_in("dead", "x")
    (spool.root / "dead" / "x.json").write_text('{"command": "echo mended"}')
    queuectl("dlq", "retry", "x")
    eventually(lambda: spool.is_in("completed", "x"))
    assert queuectl("logs", "x").out == "mended\n"

"""`worker`: start, drain, detach, list, stop; and whose spool it works on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess

GATE = "until test -e {}; do sleep 0.05; done"


class TestDrain:
    def test_it_leaves_when_all_is_done(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker
    ) -> None:
        queuectl("enqueue", "--id", "a", "true")
        assert worker("--drain").left() == 0
        assert spool.is_in("completed", "a")

    def test_it_says_how_many_jobs_are_scheduled_for_later(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker
    ) -> None:
        queuectl("enqueue", "--id", "later", "--delay", "1h", "true")
        queuectl("enqueue", "--id", "much-later", "--delay", "5h", "true")
        process = worker("--drain")
        assert process.left() == 0
        assert "2 scheduled for later" in process.said
        assert spool.is_in("pending", "later", "much-later")

    def test_it_waits_for_retries(
        self, queuectl: Queuectl, spool: Spool, settings: Configure, worker: StartWorker
    ) -> None:
        settings(backoff_base=0.5, max_retries=2)
        queuectl("enqueue", "--id", "a", "false")
        worker("--drain").left()
        assert spool.is_in("dead", "a")

    def test_an_empty_queue_is_left_at_once(self, worker: StartWorker) -> None:
        assert worker("--drain").left() == 0

    def test_it_runs_what_its_jobs_enqueue(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker
    ) -> None:
        queuectl(
            "enqueue", "--id", "parent", "--", str(queuectl.program), "enqueue", "--id", "child",
            "echo born",
        )  # fmt: skip
        worker("--drain").left()
        assert spool.is_in("completed", "parent", "child")
        assert queuectl("logs", "parent").out == "child\n"

    def test_quietly_it_says_nothing(self, queuectl: Queuectl, worker: StartWorker) -> None:
        queuectl("enqueue", "true")
        process = worker("--drain", "--quiet")
        process.left()
        assert process.said == ""


class TestDetach:
    @pytest.fixture
    def name(self, queuectl: Queuectl, settings: Configure) -> str:
        settings()
        return queuectl("worker", "start", "--detach", "--count", "2").out.removesuffix("\n")

    def test_it_prints_the_name_of_a_worker_that_is_listed(
        self, name: str, queuectl: Queuectl
    ) -> None:
        assert [(w["name"], w["alive"]) for w in queuectl.json("worker", "list")] == [(name, True)]

    def test_it_runs_jobs(
        self, name: str, queuectl: Queuectl, spool: Spool, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "true")
        eventually(lambda: spool.is_in("completed", "a"))

    def test_it_logs_to_a_file_in_the_spool(
        self, name: str, queuectl: Queuectl, spool: Spool, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "true")
        eventually(lambda: spool.is_in("completed", "a"))
        log = spool.root / "workers" / f"{name}.log"
        eventually(lambda: "job a attempt 1: completed" in log.read_text())

    def test_it_is_in_a_session_of_its_own(self, name: str, queuectl: Queuectl) -> None:
        pid = queuectl.json("worker", "list")[0]["pid"]
        assert os.getsid(pid) != os.getsid(0)

    def test_what_is_wrong_is_told_to_who_started_it(
        self, queuectl: Queuectl, spool: Spool, settings: Configure
    ) -> None:
        settings()
        spool.root.chmod(0o777)
        message = queuectl.error("worker", "start", "--detach", code=1)
        assert "--allow-shared" in message


class TestStop:
    def test_all_are_stopped_where_none_is_named(
        self, queuectl: Queuectl, worker: StartWorker
    ) -> None:
        workers = [worker(), worker()]
        queuectl("worker", "stop")
        assert [each.left() for each in workers] == [0, 0]

    @pytest.mark.parametrize("cut", [0, 1], ids=["by name", "by a unique prefix"])
    def test_one_is_stopped(self, queuectl: Queuectl, worker: StartWorker, cut: int) -> None:
        one, other = worker(), worker()
        queuectl("worker", "stop", one.name[: len(one.name) - cut])
        assert one.left() == 0
        assert other.process.poll() is None

    def test_a_prefix_of_two_is_refused(self, queuectl: Queuectl, worker: StartWorker) -> None:
        one, _ = worker(), worker()
        message = queuectl.error("worker", "stop", one.name[:2], code=1)
        assert "2 worker names begin with" in message

    def test_an_unknown_name_is_refused(self, queuectl: Queuectl, worker: StartWorker) -> None:
        worker()
        assert "no worker" in queuectl.error("worker", "stop", "nobody", code=1)

    def test_the_running_job_is_let_end(
        self,
        queuectl: Queuectl,
        spool: Spool,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> None:
        gate = tmp_path / "gate"
        queuectl("enqueue", "--id", "a", GATE.format(gate))
        process = worker()
        eventually(lambda: spool.is_in("processing", "a"))
        queuectl("worker", "stop", process.name)
        eventually(lambda: "stopping when the running jobs have ended" in process.said)
        gate.touch()
        assert process.left() == 0
        assert spool.is_in("completed", "a")

    @pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8, 1.1, 1.4])
    def test_it_leaves_as_soon_as_its_last_job_has_ended(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        seconds: float,
    ) -> None:
        settings(rescan_interval=3600)  # nothing else can be what makes it look up
        process = worker()
        queuectl("enqueue", "--id", "a", f"sleep {seconds}")
        eventually(lambda: not spool.is_in("pending", "a"))
        process.send(signal.SIGTERM)
        assert process.left(20) == 0

    def test_with_wait_it_returns_when_they_have_left(
        self, queuectl: Queuectl, worker: StartWorker
    ) -> None:
        process = worker()
        queuectl("worker", "stop", "--wait")
        assert queuectl.json("worker", "list") == []
        process.left()

    def test_where_none_runs_it_says_so(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        assert "no worker is running" in queuectl("worker", "stop").err


@pytest.mark.parametrize("how", ["stop --now", "a second SIGINT", "a second SIGTERM"])
def test_told_to_stop_now_it_puts_the_running_job_back(
    queuectl: Queuectl,
    spool: Spool,
    worker: StartWorker,
    eventually: Eventually,
    processes_with: Callable[[str], list[int]],
    how: str,
) -> None:
    queuectl("enqueue", "--id", "a", "sleep 9999.250")
    process = worker()
    eventually(lambda: processes_with("sleep\0009999.250"))
    if how == "stop --now":
        queuectl("worker", "stop", "--now")
    else:
        number = getattr(signal, how.split()[-1])
        process.send(number)
        eventually(lambda: "stopping" in process.said)
        process.send(number)
    assert process.left() == 0
    assert spool.is_in("pending", "a")
    record = spool.record("a")
    assert record.get("attempts", 0) == 0
    assert [entry["outcome"] for entry in record["history"]] == ["interrupted"]
    assert not processes_with("sleep\0009999.250")


def test_a_job_that_was_interrupted_runs_again(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    queuectl("enqueue", "--id", "a", f"test -e {tmp_path}/gate || sleep 100")
    first = worker()
    eventually(lambda: spool.is_in("processing", "a"))
    queuectl("worker", "stop", "--now", "--wait")
    first.left()
    (tmp_path / "gate").touch()
    worker()
    eventually(lambda: spool.is_in("completed", "a"))
    assert [entry["attempt"] for entry in spool.record("a")["history"]] == [1, 2]


class TestList:
    @pytest.fixture
    def busy(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> WorkerProcess:
        queuectl("enqueue", "--id", "long-one", "sleep 100")
        process = worker("--count", "3")
        eventually(lambda: [r["pid"] for w in queuectl.json("worker", "list")
                            for r in w["running"]] not in ([], [None]))  # fmt: skip
        return process

    def test_it_shows_what_each_slot_runs_and_for_how_long(
        self, busy: WorkerProcess, queuectl: Queuectl
    ) -> None:
        header, row = queuectl("worker", "list").out.splitlines()
        names = header.replace("JOB PID", "JOB-PID").split()
        cells = dict(zip(names, row.split(maxsplit=len(names) - 1), strict=True))
        assert cells["WORKER"] == busy.name
        assert (cells["SLOT"].split("/")[1], cells["RUNNING"], cells["ATTEMPT"]) == (
            "3", "long-one", "1",
        )  # fmt: skip
        assert cells["FOR"].endswith("s")

    def test_as_json(self, busy: WorkerProcess, queuectl: Queuectl, spool: Spool) -> None:
        (one,) = queuectl.json("worker", "list")
        assert {key: one[key] for key in ("name", "pid", "slots", "alive")} == {
            "name": busy.name, "pid": busy.pid, "slots": 3, "alive": True,
        }  # fmt: skip
        (running,) = one["running"]
        assert (running["id"], running["attempt"]) == ("long-one", 1)
        assert running["started_at"].endswith("Z")
        assert running["pid"] in spool.processes()

    def test_a_worker_that_died_is_shown_as_such(
        self, busy: WorkerProcess, queuectl: Queuectl
    ) -> None:
        busy.send(signal.SIGKILL)
        busy.left()
        assert [w["alive"] for w in queuectl.json("worker", "list")] == [False]
        assert "died" in queuectl("worker", "list").out

    def test_an_idle_worker_is_shown_as_idle(self, queuectl: Queuectl, worker: StartWorker) -> None:
        worker()
        assert "idle" in queuectl("worker", "list").out


class TestWhoseSpoolItIs:
    @pytest.fixture(params=["", "pending"], ids=["the spool", "pending/"])
    def shared(
        self, request: pytest.FixtureRequest, queuectl: Queuectl, settings: Configure, spool: Spool
    ) -> Path:
        settings()
        queuectl("enqueue", "--id", "a", "true")
        directory: Path = spool.root / request.param
        directory.chmod(0o770)
        return directory

    def test_one_that_others_may_write_to_is_refused(
        self, shared: Path, queuectl: Queuectl
    ) -> None:
        message = queuectl.error("worker", "start", code=1)
        assert str(shared) in message
        assert "--allow-shared" in message

    def test_unless_they_are_trusted(
        self, shared: Path, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker("--allow-shared")
        eventually(lambda: spool.is_in("completed", "a"))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_a_strangers_job_is_not_run_but_kept(
        self, settings: Configure, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        settings()
        worker()
        staged = spool.root / "tmp" / "stranger"
        staged.write_text('{"command": "touch ran"}')
        os.chown(staged, 12345, 12345)
        staged.rename(spool.root / "pending" / "a.json")
        eventually(lambda: spool.is_in("dead", "a"))
        eventually((spool.root / "dead" / "a.error").exists)  # it is written after the move
        assert "12345" in (spool.root / "dead" / "a.error").read_text()
        assert json.loads((spool.root / "dead" / "a.json").read_text())["command"] == "touch ran"


@pytest.mark.parametrize("count", ["0", "-1", "many", "100000"])
def test_a_count_that_is_none_is_refused(queuectl: Queuectl, count: str) -> None:
    queuectl.error("worker", "start", "--count", count)


def test_a_spool_that_is_taken_away_ends_the_worker(
    spool: Spool, worker: StartWorker, tmp_path: Path
) -> None:
    process = worker()
    spool.root.rename(tmp_path / "elsewhere")
    assert process.left() == 1
    assert "queuectl: error: " in process.said
    (tmp_path / "elsewhere").rename(spool.root)


def test_a_worker_that_is_leaving_is_shown_as_such(
    queuectl: Queuectl, worker: StartWorker, tmp_path: Path, eventually: Eventually
) -> None:
    queuectl("enqueue", "--id", "a", GATE.format(tmp_path / "gate"))
    process = worker()
    eventually(lambda: queuectl.json("list", "--state", "processing"))
    process.send(signal.SIGTERM)
    eventually(lambda: queuectl.json("worker", "list")[0]["leaving"])
    assert "1 of 1 slots busy, 1 leaving" in queuectl("status").out
    assert "leaving" in queuectl("worker", "list").out
    queuectl("enqueue", "true")
    assert "every worker is leaving, but jobs are due" in queuectl("health", code=1).out
    (tmp_path / "gate").touch()
    assert process.left() == 0

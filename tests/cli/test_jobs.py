"""How a running worker treats jobs: their order, their times, their end, their surroundings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess


def test_the_higher_priority_runs_first_and_of_equals_the_older(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    jobs = [("low", -1), ("first", 0), ("high", 5), ("second", 0), ("highest", 10)]
    lines = [{"command": f"echo {name} >> {ran}", "priority": rank} for name, rank in jobs]
    queuectl("enqueue", "-", input=json.dumps(lines))
    worker("--count", "1")
    eventually(lambda: spool.count("completed") == 5)
    assert ran.read_text().split() == ["highest", "high", "first", "second", "low"]


def test_two_workers_work_at_the_same_time(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    """Each of two jobs ends only once the other has begun."""
    for one, other in (("a", "b"), ("b", "a")):
        queuectl(
            "enqueue", "--id", one,
            f"touch {tmp_path}/{one}; until test -e {tmp_path}/{other}; do sleep 0.05; done",
        )  # fmt: skip
    names = {worker().name, worker().name}
    eventually(lambda: spool.is_in("completed", "a", "b"))
    assert {spool.record(job_id)["history"][0]["worker"] for job_id in "ab"} == names


def test_the_slots_of_a_worker_work_at_the_same_time(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    for n in range(4):
        queuectl(
            "enqueue", "--id", f"j{n}",
            f"touch {tmp_path}/{n}; until ls {tmp_path}/0 {tmp_path}/1 {tmp_path}/2 {tmp_path}/3;"
            "do sleep 0.05; done",
        )  # fmt: skip
    worker("--count", "4")
    eventually(lambda: spool.count("completed") == 4)


def test_the_end_of_a_failed_job_hits_no_other(
    queuectl: Queuectl, spool: Spool, settings: Configure, worker: StartWorker
) -> None:
    """What a failed command left is searched for while other slots are starting theirs."""
    settings(max_retries=0, fsync="false")
    jobs = [
        {"id": f"{name}{n}", "command": [name]} for n in range(600) for name in ("true", "false")
    ]
    queuectl("enqueue", "-", input=json.dumps(jobs))
    worker("--drain", "--quiet", "--count", "16").left(90)
    assert [path.stem for path in spool.files("dead") if path.stem.startswith("true")] == []


class TestRunAt:
    def test_a_job_does_not_run_before_its_time(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "--delay", "2", "true")
        worker()
        eventually(lambda: spool.is_in("completed", "a"))
        record = spool.record("a")
        assert record["history"][0]["started_at"] >= record["run_at"]

    def test_it_does_not_hold_up_those_that_are_due(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "later", "--priority", "9", "--delay", "1h", "true")
        queuectl("enqueue", "--id", "now", "true")
        worker()
        eventually(lambda: spool.is_in("completed", "now"))
        assert spool.is_in("pending", "later")

    def test_a_time_that_is_past_is_now(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        before = (datetime.now(UTC) - timedelta(days=400)).isoformat()
        queuectl("enqueue", "--id", "a", "--run-at", before, "true")
        worker()
        eventually(lambda: spool.is_in("completed", "a"))


LONG = f"9999.{os.getpid()}"
"""Seconds, as no other process of this machine sleeps."""


class TestTimeout:
    @pytest.fixture
    def tree(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        processes_with: Callable[[str], list[int]],
    ) -> None:
        """A command tree that ignores SIGTERM, partly in sessions of its own."""
        settings(max_retries=0)
        script = (
            f"trap '' TERM; (trap '' TERM; sleep {LONG}; sleep {LONG}) & "
            f"setsid sh -c 'trap \"\" TERM; sleep {LONG}; sleep {LONG}' & "
            f"sleep {LONG}; sleep {LONG}"
        )
        queuectl("enqueue", "--id", "a", "--timeout", "1.5", script)
        worker()
        eventually(lambda: len(processes_with(f"sleep\0{LONG}")) == 3)
        eventually(lambda: spool.is_in("dead", "a"))

    def test_nothing_of_the_command_is_left_running(
        self, tree: WorkerProcess, processes_with: Callable[[str], list[int]]
    ) -> None:
        assert not processes_with(LONG)

    def test_the_outcome_is_timeout(self, tree: WorkerProcess, spool: Spool) -> None:
        (entry,) = spool.record("a")["history"]
        assert entry["outcome"] == "timeout"
        assert "1.5 s" in entry["error"]

    def test_it_counts_as_a_failure(self, tree: WorkerProcess, spool: Spool) -> None:
        assert spool.record("a")["attempts"] == 1


class TestCancel:
    def test_a_waiting_job_is_dead_at_once(
        self, queuectl: Queuectl, spool: Spool, settings: Configure
    ) -> None:
        settings()
        queuectl("enqueue", "--id", "a", "true")
        queuectl("cancel", "a")
        assert spool.is_in("dead", "a")
        assert [entry["outcome"] for entry in spool.record("a")["history"]] == ["cancelled"]

    def test_a_running_job_is_ended(
        self,
        queuectl: Queuectl,
        spool: Spool,
        worker: StartWorker,
        eventually: Eventually,
        processes_with: Callable[[str], list[int]],
    ) -> None:
        queuectl("enqueue", "--id", "a", "sleep 9999.5")
        worker()
        eventually(lambda: processes_with("sleep\0009999.5"))
        queuectl("cancel", "a")
        eventually(lambda: spool.is_in("dead", "a"))
        assert spool.record("a")["history"][-1]["outcome"] == "cancelled"
        assert not processes_with("sleep\0009999.5")

    def test_its_worker_goes_on(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "sleep 100")
        worker("--count", "1")
        eventually(lambda: spool.is_in("processing", "a"))
        queuectl("cancel", "a")
        queuectl("enqueue", "--id", "b", "true")
        eventually(lambda: spool.is_in("completed", "b"))

    def test_a_job_that_waits_for_its_retry_is_dead(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> None:
        settings(backoff_base=1000)
        queuectl("enqueue", "--id", "a", "false")
        worker()
        eventually(lambda: spool.is_in("failed", "a"))
        queuectl("cancel", "a")
        assert spool.is_in("dead", "a")

    def test_one_that_has_ended_is_refused(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "true")
        worker()
        eventually(lambda: spool.is_in("completed", "a"))
        assert "completed" in queuectl.error("cancel", "a", code=1)

    def test_of_several_each_is_told(
        self, queuectl: Queuectl, spool: Spool, settings: Configure
    ) -> None:
        settings()
        queuectl("enqueue", "--id", "a", "true")
        results = queuectl.json("cancel", "a", "nobody", code=1)
        assert [("error" in r, r["id"]) for r in results] == [(False, "a"), (True, "nobody")]
        assert spool.is_in("dead", "a")


def test_a_job_enqueues_another_with_the_spool_it_is_in(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    queuectl("enqueue", "--id", "a", "--", str(queuectl.program), "enqueue", "--id", "b", "true")
    worker()
    eventually(lambda: spool.is_in("completed", "a", "b"))


class TestWhatAJobIsGiven:
    @pytest.fixture
    def output_of(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> Callable[..., str]:
        worker()

        def run(command: str, *options: str) -> str:
            job_id = queuectl("enqueue", *options, command).out.strip()
            eventually(lambda: spool.is_in("completed", job_id))
            return queuectl("logs", job_id).out

        return run

    def test_its_spool_id_and_attempt(self, output_of: Callable[..., str], spool: Spool) -> None:
        said = output_of("echo $QUEUECTL_SPOOL $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT", "--id", "a")
        assert said == f"{spool.root} a 1\n"

    def test_a_mark_of_its_run(self, output_of: Callable[..., str]) -> None:
        assert output_of("echo $QUEUECTL_RUN") != output_of("echo $QUEUECTL_RUN")

    def test_its_environment_over_the_workers(self, output_of: Callable[..., str]) -> None:
        assert output_of("echo $A $LANG", "--env", "A=x y", "--env", "LANG=C") == "x y C\n"

    def test_the_directory_it_was_enqueued_in(
        self, output_of: Callable[..., str], queuectl: Queuectl
    ) -> None:
        assert output_of("pwd") == f"{queuectl.cwd}\n"

    def test_no_input(self, output_of: Callable[..., str]) -> None:
        assert output_of("cat; echo end") == "end\n"

    def test_one_log_for_output_and_errors_in_their_order(
        self, output_of: Callable[..., str]
    ) -> None:
        assert output_of("echo 1; echo 2 >&2; echo 3") == "1\n2\n3\n"

    def test_a_session_and_group_of_its_own(self, output_of: Callable[..., str]) -> None:
        pid, session, group = output_of("cut -d' ' -f1,6,5 /proc/$$/stat; exit").split()
        assert pid == session == group
        assert int(session) != os.getsid(0)


def test_json_without_a_directory_runs_where_its_worker_does(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", '{"id":"a","command":"pwd"}')
    worker()
    eventually(lambda: spool.is_in("completed", "a"))
    assert queuectl("logs", "a").out == f"{queuectl.cwd}\n"


@pytest.mark.parametrize(
    ("fields", "exit_code", "error"),
    [
        ({"command": ["no-such-program"]}, 127, "command not found: no-such-program"),
        ({"command": ["/etc"]}, 126, "cannot be executed"),
        ({"command": "true", "cwd": "/no/such/place"}, None, "/no/such/place"),
        ({"command": "kill -9 $$"}, None, "SIGKILL"),
        ({"command": "exit 3"}, 3, "exit status 3"),
    ],
    ids=["no program", "a directory", "no cwd", "a signal", "a status"],
)
def test_why_an_attempt_failed_is_told(
    queuectl: Queuectl,
    spool: Spool,
    worker: StartWorker,
    eventually: Eventually,
    fields: dict[str, Any],
    exit_code: int | None,
    error: str,
) -> None:
    queuectl("enqueue", json.dumps({"id": "a", "max_retries": 0, **fields}))
    worker()
    eventually(lambda: spool.is_in("dead", "a"))
    (entry,) = spool.record("a")["history"]
    assert entry.get("exit_code") == exit_code
    assert error in entry["error"]

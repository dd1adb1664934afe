"""The scenarios that the project was asked for, each end to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def test_1_a_job_completes_and_its_output_is_kept(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", '{"id":"job1","command":"echo Hello World"}')
    worker("--count", "3")
    eventually(lambda: spool.is_in("completed", "job1"))
    assert queuectl("logs", "job1").out == "Hello World\n"


class Test2AnInvalidCommandIsRetriedAndLandsInTheDeadLetterQueue:
    @pytest.fixture
    def dead(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> Any:
        settings(backoff_base=0.1)
        queuectl("enqueue", '{"id":"job1","command":"no-such-program-anywhere"}')
        worker()
        eventually(lambda: spool.is_in("dead", "job1"))
        return spool.record("job1")

    def test_after_four_attempts_by_default(self, dead: Any) -> None:
        assert dead["attempts"] == 4

    def test_each_attempt_is_in_the_history_with_the_shell_exit_code(self, dead: Any) -> None:
        entries = [(e["attempt"], e["outcome"], e["exit_code"]) for e in dead["history"]]
        assert entries == [(n, "failed", 127) for n in (1, 2, 3, 4)]

    def test_each_retry_waits_for_its_time(self, dead: Any) -> None:
        waits = [
            seconds_between(one["finished_at"], next_["started_at"])
            for one, next_ in pairwise(dead["history"])
        ]
        assert all(wait >= 0.1**n for n, wait in enumerate(waits, 1)), waits

    def test_the_dead_letter_queue_lists_it(self, dead: Any, queuectl: Queuectl) -> None:
        assert [job["id"] for job in queuectl.json("dlq", "list")] == ["job1"]


def test_2_the_wait_before_a_retry_grows(
    queuectl: Queuectl,
    spool: Spool,
    settings: Configure,
    worker: StartWorker,
    eventually: Eventually,
) -> None:
    settings(backoff_base=1.3)
    queuectl("enqueue", '{"id":"job1","command":"exit 1"}')
    worker()
    waits = {}

    def is_dead() -> bool:
        place = spool.where("job1")
        if place and place[0] == "failed":
            record = spool.record("job1")
            if record["history"] and "run_at" in record:
                waits[record["attempts"]] = record["run_at"], record["updated_at"]
        return bool(place and place[0] == "dead")

    eventually(is_dead)
    delays = [round(seconds_between(since, until), 3) for until, since in waits.values()]
    assert delays == [1.3, 1.69, 2.197]


def test_3_several_workers_share_five_hundred_jobs_and_run_each_once(
    queuectl: Queuectl,
    spool: Spool,
    settings: Configure,
    worker: StartWorker,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    settings()
    ran = tmp_path / "ran"
    lines = [json.dumps({"id": f"j{n}", "command": f"echo {n} >> {ran}"}) for n in range(500)]
    queuectl("enqueue", "-", input="\n".join(lines))
    for _ in range(4):
        worker("--count", "2")
    eventually(lambda: spool.count("completed") == 500, seconds=90)
    assert sorted(map(int, ran.read_text().split())) == list(range(500))


class Test4AWorkerIsKilledInTheMiddleOfAJob:
    """Rescans are a minute apart, so that only the news of the death can be what is acted on."""

    @pytest.fixture
    def after_the_kill(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        processes_with: Callable[[str], list[int]],
        tmp_path: Path,
    ) -> tuple[WorkerProcess, WorkerProcess, list[int]]:
        settings(rescan_interval=60, backoff_base=0.1)
        pids = tmp_path / "pids"
        command = (
            'test "$QUEUECTL_ATTEMPT" = 2 || '
            f"{{ setsid sleep 9999.125 & echo $! $$ > {pids}; wait; }}"
        )
        queuectl("enqueue", json.dumps({"id": "job1", "command": command}))
        first = worker()
        eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        others = [json.dumps({"id": f"other{n}", "command": "true"}) for n in range(20)]
        queuectl("enqueue", "-", input="\n".join(others))
        second = worker("--count", "2")
        eventually(lambda: all(spool.is_in("completed", f"other{n}") for n in range(20)))
        first.send(signal.SIGKILL)
        first.left()
        eventually(lambda: spool.is_in("completed", "job1"), seconds=20)
        return first, second, [int(pid) for pid in pids.read_text().split()]

    def test_the_other_completes_it_on_its_second_attempt(
        self, after_the_kill: tuple[WorkerProcess, WorkerProcess, list[int]], spool: Spool
    ) -> None:
        first, second, _ = after_the_kill
        history = spool.record("job1")["history"]
        assert [(entry["outcome"], entry["worker"]) for entry in history] == [
            ("lost", first.name),
            ("ok", second.name),
        ]

    def test_nothing_that_it_started_is_left(
        self, after_the_kill: tuple[WorkerProcess, WorkerProcess, list[int]], spool: Spool
    ) -> None:
        pids = after_the_kill[2]
        assert not set(pids) & set(spool.processes())

    def test_no_job_of_the_queue_is_lost(
        self, after_the_kill: tuple[WorkerProcess, WorkerProcess, list[int]], queuectl: Queuectl
    ) -> None:
        assert queuectl.json("status")["jobs"] == {
            "pending": 0, "processing": 0, "completed": 21, "failed": 0, "dead": 0,
        }  # fmt: skip

    def test_the_dead_worker_is_listed_no_more(
        self,
        after_the_kill: tuple[WorkerProcess, WorkerProcess, list[int]],
        queuectl: Queuectl,
        eventually: Eventually,
    ) -> None:
        _, second, _ = after_the_kill
        eventually(lambda: [w["name"] for w in queuectl.json("worker", "list")] == [second.name])


class Test5ADeadJobIsRetriedByHand:
    @pytest.fixture
    def dead(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> Any:
        settings(max_retries=1, backoff_base=0.1)
        queuectl("enqueue", '{"id":"job1","command":"echo try $QUEUECTL_ATTEMPT; exit 3"}')
        process = worker()
        eventually(lambda: spool.is_in("dead", "job1"))
        return process

    def test_it_goes_back_to_pending_with_no_attempts_and_its_history(
        self, dead: Any, queuectl: Queuectl, spool: Spool
    ) -> None:
        dead.send(signal.SIGTERM)
        dead.left()
        queuectl("dlq", "retry", "job1")
        record = spool.record("job1")
        assert spool.is_in("pending", "job1")
        assert (record["attempts"], len(record["history"])) == (0, 2)

    def test_it_runs_again_and_history_and_logs_are_numbered_on(
        self, dead: Any, queuectl: Queuectl, spool: Spool, eventually: Eventually
    ) -> None:
        queuectl("dlq", "retry", "job1")
        eventually(lambda: spool.is_in("dead", "job1") and len(spool.record("job1")["history"]) > 2)
        record = spool.record("job1")
        assert record["attempts"] == 2
        assert [entry["attempt"] for entry in record["history"]] == [1, 2, 3, 4]
        assert [(spool.root / entry["log"]).read_text() for entry in record["history"]] == [
            f"try {n}\n" for n in (1, 2, 3, 4)
        ]


def test_6_a_failing_job_dies_beside_a_good_one_with_the_default_backoff(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    worker()
    queuectl("enqueue", '{"id":"t1","command":"echo ok"}')
    queuectl("enqueue", '{"id":"t2","command":"bash -c \\"exit 2\\"","max_retries":2}')
    eventually(lambda: spool.is_in("completed", "t1"))
    eventually(lambda: spool.is_in("dead", "t2"), seconds=40)
    header, row = queuectl("dlq", "list").out.splitlines()
    assert row.split()[0] == "t2"
    assert row[header.index("ATTEMPTS") :].split()[0] == "3"
    assert "exit status 2" in row


class Test7SettingsAreChangedWhileWorkersRun:
    def test_a_setting_reads_back(self, queuectl: Queuectl) -> None:
        queuectl("config", "set", "backoff_base", "3")
        assert queuectl("config", "get", "backoff_base").out == "3\n"

    def test_jobs_that_fail_from_then_on_wait_by_the_new_base(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker()
        queuectl("config", "set", "backoff_base", "3")
        queuectl("enqueue", '{"id":"job1","command":"exit 1"}')
        eventually(lambda: spool.is_in("failed", "job1"))
        record = spool.record("job1")
        assert seconds_between(record["updated_at"], record["run_at"]) == pytest.approx(3)

    def test_jobs_that_fail_from_then_on_have_the_new_number_of_retries(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> None:
        settings(backoff_base=0.1)
        worker()
        queuectl("config", "set", "max_retries", "5")
        queuectl("enqueue", '{"id":"job1","command":"exit 1"}')
        eventually(lambda: spool.is_in("dead", "job1"))
        assert spool.record("job1")["attempts"] == 6


class Test8AWorkerIsStoppedGracefully:
    @pytest.fixture
    def stopped(
        self,
        queuectl: Queuectl,
        spool: Spool,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> int:
        gate = tmp_path / "gate"
        command = f"until test -e {gate}; do sleep 0.05; done; echo finished"
        queuectl("enqueue", json.dumps({"id": "running", "command": command}))
        process = worker()
        eventually(lambda: spool.is_in("processing", "running"))
        queuectl("enqueue", '{"id":"waiting","command":"true"}')
        process.send(signal.SIGTERM)
        eventually(lambda: "stopping" in process.said)
        gate.touch()
        return process.left()

    def test_it_exits_with_0(self, stopped: int) -> None:
        assert stopped == 0

    def test_the_running_job_completes(
        self, stopped: int, spool: Spool, queuectl: Queuectl
    ) -> None:
        assert spool.is_in("completed", "running")
        assert queuectl("logs", "running").out == "finished\n"

    def test_no_other_starts(self, stopped: int, spool: Spool) -> None:
        assert spool.is_in("pending", "waiting")


IN_SHELL = """
for n in 1 2 3; do
    echo "{\\"command\\": \\"echo $n\\"}" > "$QUEUECTL_SPOOL/tmp/sh-$n"
    mv "$QUEUECTL_SPOOL/tmp/sh-$n" "$QUEUECTL_SPOOL/pending/sh-$n.json"
done
"""
IN_PYTHON = """
import json, os
for n in 1, 2, 3:
    name = os.path.join(os.environ["QUEUECTL_SPOOL"], "pending", f"python-{n}.json")
    with open(name, "w") as file:
        json.dump({"command": ["echo", str(n)]}, file)
"""
IN_NODE = """
const fs = require("fs"), path = require("path");
for (const n of [1, 2, 3])
  fs.writeFileSync(path.join(process.env.QUEUECTL_SPOOL, "pending", `node-${n}.json`),
                   JSON.stringify({command: `echo ${n}`}));
"""


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("sh", ["sh", "-c", IN_SHELL]),
        ("python", [sys.executable, "-S", "-c", IN_PYTHON]),
        ("node", ["node", "-e", IN_NODE]),
    ],
    ids=["a shell loop", "a Python program", "a Node program"],
)
def test_9_a_program_that_knows_nothing_of_queuectl_drops_jobs_while_workers_run(
    name: str, program: list[str], spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    if not shutil.which(program[0]):
        pytest.skip(f"{program[0]} is not installed")
    worker("--count", "2")
    worker()
    environment = {"PATH": os.environ["PATH"], "QUEUECTL_SPOOL": str(spool.root)}
    subprocess.run(program, env=environment, check=True, timeout=60)
    eventually(lambda: spool.is_in("completed", *(f"{name}-{n}" for n in (1, 2, 3))))
    logs = [Path(spool.root / "logs" / f"{name}-{n}.1.log").read_text() for n in (1, 2, 3)]
    assert logs == ["1\n", "2\n", "3\n"]

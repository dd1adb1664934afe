"""status, list, show, logs, wait, purge, dlq: what they print, as text and as JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess

COUNTS = {"pending": 0, "processing": 0, "completed": 0, "failed": 0, "dead": 0}


@pytest.fixture
def one_of_each(
    queuectl: Queuectl,
    spool: Spool,
    settings: Configure,
    worker: StartWorker,
    eventually: Eventually,
) -> WorkerProcess:
    """A job in each state, named after it."""
    settings(backoff_base=1000)
    queuectl("enqueue", "--id", "completed1", "echo hello")
    queuectl("enqueue", "--id", "failed1", "echo alas; exit 4")
    queuectl("enqueue", "--id", "dead1", "--max-retries", "0", "no-such-program")
    queuectl("enqueue", "--id", "processing1", "echo begun; sleep 100")
    queuectl("enqueue", "--id", "pending1", "--delay", "2h", "true")
    process = worker("--count", "4")
    eventually(
        lambda: (
            all(spool.is_in(state, f"{state}1") for state in COUNTS)
            and queuectl.json("show", "processing1").get("pid")
        )
    )
    return process


class TestStatus:
    def test_as_json(self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool) -> None:
        status = queuectl.json("status")
        assert list(status) == ["spool", "jobs", "workers"]
        assert status["spool"] == str(spool.root)
        assert status["jobs"] == dict.fromkeys(COUNTS, 1)
        assert [worker["name"] for worker in status["workers"]] == [one_of_each.name]

    def test_as_text(self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool) -> None:
        lines = queuectl("status").out.splitlines()
        words = dict(line.split()[:2] for line in lines)
        assert words == {"spool": str(spool.root), **dict.fromkeys(COUNTS, "1"), "workers": "1"}

    def test_that_nobody_works_is_said_where_jobs_wait(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "true")
        assert "queuectl worker start" in queuectl("status").err


class TestList:
    def test_as_json_each_is_its_record_with_id_state_and_path(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        jobs = queuectl.json("list")
        assert {job["id"]: job["state"] for job in jobs} == {f"{s}1": s for s in COUNTS}
        for job in jobs:
            record = json.loads((spool.root / job["path"]).read_text())
            assert record.items() <= {**job, "id": record["id"]}.items()

    def test_as_text_there_is_a_line_a_job(
        self, one_of_each: WorkerProcess, queuectl: Queuectl
    ) -> None:
        header, *rows = queuectl("list").out.splitlines()
        assert header.split()[:2] == ["ID", "STATE"]
        assert {tuple(row.split()[:2]) for row in rows} == {(f"{s}1", s) for s in COUNTS}

    @pytest.mark.parametrize("state", COUNTS)
    def test_of_one_state(self, one_of_each: WorkerProcess, queuectl: Queuectl, state: str) -> None:
        assert [job["id"] for job in queuectl.json("list", "--state", state)] == [f"{state}1"]

    def test_a_limit(self, one_of_each: WorkerProcess, queuectl: Queuectl) -> None:
        assert len(queuectl.json("list", "--limit", "2")) == 2

    def test_a_state_that_is_none_is_refused(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        assert "processing" in queuectl.error("list", "--state", "running")

    def test_of_an_empty_queue(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        assert queuectl.json("list") == []
        assert queuectl("list").out == ""


class TestShow:
    @pytest.mark.parametrize("state", COUNTS)
    def test_as_json_it_is_what_list_says(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, state: str
    ) -> None:
        (listed,) = queuectl.json("list", "--state", state)
        assert queuectl.json("show", f"{state}1") == listed

    def test_as_text(self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool) -> None:
        said = queuectl("show", "failed1").out
        for fact in ("failed1", "echo alas; exit 4", "exit status 4", one_of_each.name):
            assert fact in said

    def test_who_runs_it(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        shown = queuectl.json("show", "processing1")
        assert (shown["worker"], shown["slot"] in range(1, 5)) == (one_of_each.name, True)
        assert shown["pid"] in spool.processes()


class TestLogs:
    @pytest.mark.parametrize(
        ("job_id", "said"),
        [
            ("completed1", "hello\n"),
            ("failed1", "alas\n"),
            ("processing1", "begun\n"),
        ],
    )
    def test_the_output_of_the_newest_attempt(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, job_id: str, said: str
    ) -> None:
        assert queuectl("logs", job_id).out == said

    def test_as_json(self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool) -> None:
        shown = queuectl.json("logs", "completed1")
        assert shown == {"path": str(spool.root / "logs/completed1.1.log"), "output": "hello\n"}

    def test_of_a_job_that_has_not_run(
        self, one_of_each: WorkerProcess, queuectl: Queuectl
    ) -> None:
        assert "pending1" in queuectl.error("logs", "pending1", code=1)

    def test_of_an_attempt_that_was_none(
        self, one_of_each: WorkerProcess, queuectl: Queuectl
    ) -> None:
        assert "attempt 2" in queuectl.error("logs", "completed1", "--attempt", "2", code=1)

    def test_of_each_attempt(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> None:
        settings(backoff_base=0.1, max_retries=1)
        queuectl("enqueue", "--id", "a", "echo $QUEUECTL_ATTEMPT; exit 1")
        worker()
        eventually(lambda: spool.is_in("dead", "a"))
        said = [queuectl("logs", "a", "--attempt", n).out for n in "12"]
        assert said == ["1\n", "2\n"]

    def test_bytes_come_as_they_were_written(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", r"printf '\377\001'")
        worker()
        eventually(lambda: spool.is_in("completed", "a"))
        process = queuectl.start("logs", "a")
        assert isinstance(process.stdout, io.TextIOWrapper)
        process.stdout.reconfigure(encoding="latin-1")
        assert process.communicate(timeout=60)[0] == "\xff\x01"

    def test_followed_it_goes_from_attempt_to_attempt_and_ends_with_the_job(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        tmp_path: Path,
    ) -> None:
        settings(backoff_base=0.1, max_retries=1)
        gate = tmp_path / "gate"
        command = (
            f"echo one $QUEUECTL_ATTEMPT; until test -e {gate}; do sleep 0.05; done;"
            "echo two $QUEUECTL_ATTEMPT; exit 1"
        )
        queuectl("enqueue", "--id", "a", command)
        process = queuectl.start("logs", "a", "--follow")
        worker()
        assert process.stdout
        assert process.stdout.readline() == "one 1\n"
        gate.touch()
        out, err = process.communicate(timeout=60)
        assert out == "two 1\none 2\ntwo 2\n"
        assert process.returncode == 0
        assert "dead" in err


class TestWait:
    def test_all_completed_is_0(self, queuectl: Queuectl, worker: StartWorker) -> None:
        queuectl("enqueue", "--id", "a", "true")
        queuectl("enqueue", "--id", "b", "sleep 0.3")
        worker("--count", "2")
        assert queuectl.json("wait", "a", "b") == {"a": "completed", "b": "completed"}

    def test_any_died_is_1(self, queuectl: Queuectl, worker: StartWorker) -> None:
        queuectl("enqueue", "--id", "a", "true")
        queuectl("enqueue", "--id", "b", "--max-retries", "0", "false")
        worker()
        result = queuectl("wait", "a", "b", code=1)
        assert result.out == "a completed\nb dead\n"

    def test_a_timeout_is_124(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "--id", "a", "true")
        said = queuectl("wait", "a", "--timeout", "0.2", code=124).err
        assert said.endswith("queuectl: error: after 0.2 s, still not ended: a\n")

    def test_it_sees_a_job_through_its_retries(
        self, queuectl: Queuectl, settings: Configure, worker: StartWorker
    ) -> None:
        settings(backoff_base=0.3, max_retries=2)
        queuectl("enqueue", "--id", "a", 'test "$QUEUECTL_ATTEMPT" = 3')
        worker()
        queuectl("wait", "a", "--timeout", "60")

    def test_one_that_is_not_there_is_refused(
        self, queuectl: Queuectl, settings: Configure
    ) -> None:
        settings()
        assert "nobody" in queuectl.error("wait", "nobody", code=1)


class TestPurge:
    def test_those_that_ended_long_ago_go_with_their_logs(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        said = queuectl.json("purge", "--state", "completed", "--older-than", "0")
        assert said == {"removed": 1}
        assert not (spool.root / "logs/completed1.1.log").exists()
        assert queuectl.json("status")["jobs"] == {**dict.fromkeys(COUNTS, 1), "completed": 0}

    def test_younger_ones_stay(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl("purge", "--state", "dead", "--older-than", "1h")
        assert spool.is_in("dead", "dead1")

    @pytest.mark.parametrize("state", ["pending", "processing", "failed"])
    def test_jobs_that_have_not_ended_are_refused(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool, state: str
    ) -> None:
        queuectl.error("purge", "--state", state, "--older-than", "0", code=1)
        assert spool.is_in(state, f"{state}1")


class TestDeadLetterQueue:
    def test_it_lists_the_reason(self, one_of_each: WorkerProcess, queuectl: Queuectl) -> None:
        header, row = queuectl("dlq", "list").out.splitlines()
        assert header.split() == ["ID", "DIED", "ATTEMPTS", "COMMAND", "REASON"]
        assert row.startswith("dead1 ")
        assert row.endswith("exit status 127")

    def test_as_json(self, one_of_each: WorkerProcess, queuectl: Queuectl) -> None:
        assert queuectl.json("dlq", "list") == queuectl.json("list", "--state", "dead")

    def test_all_are_retried(self, queuectl: Queuectl, spool: Spool, settings: Configure) -> None:
        settings()
        for job_id in "ab":
            queuectl("enqueue", "--id", job_id, "true")
        queuectl("cancel", "a", "b")
        queuectl("dlq", "retry", "--all")
        assert spool.is_in("pending", "a", "b")

    def test_what_is_not_dead_is_not_retried(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        assert "completed" in queuectl.error("dlq", "retry", "completed1", code=1)

    def test_it_is_emptied(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl("dlq", "purge")
        assert spool.find("dead1") is None

    def test_which_to_retry_must_be_said(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        queuectl.error("dlq", "retry")
        queuectl.error("dlq", "retry", "a", "--all")


class TestPrefix:
    @pytest.fixture(autouse=True)
    def _jobs(self, queuectl: Queuectl) -> None:
        for job_id in ("apple", "apricot", "pear", "pe"):
            queuectl("enqueue", "--id", job_id, "--delay", "1h", "true")

    @pytest.mark.parametrize(
        ("prefix", "job_id"), [("app", "apple"), ("pea", "pear"), ("pe", "pe")]
    )
    def test_a_unique_one_or_the_whole_names_the_job(
        self, queuectl: Queuectl, prefix: str, job_id: str
    ) -> None:
        assert queuectl.json("show", prefix)["id"] == job_id

    @pytest.mark.parametrize("words", [["show"], ["cancel"], ["logs"], ["wait"], ["dlq", "retry"]])
    def test_one_of_several_is_refused_with_their_names(
        self, queuectl: Queuectl, spool: Spool, words: list[str]
    ) -> None:
        message = queuectl.error(*words, "ap", code=1)
        assert "apple" in message
        assert "apricot" in message
        assert spool.count("pending") == 4


@pytest.mark.parametrize(
    "words",
    [
        ["show", "a"],
        ["logs", "a"],
        ["cancel", "a"],
        ["wait", "a"],
        ["purge", "--state", "dead", "--older-than", "1d"],
        ["dlq", "retry", "a"],
        ["dlq", "purge"],
        ["worker", "stop"],
    ],
    ids=" ".join,
)
def test_where_there_is_no_spool_it_says_so_and_makes_none(
    queuectl: Queuectl, spool: Spool, words: list[str]
) -> None:
    message = queuectl.error(*words, code=1)
    assert str(spool.root) in message
    assert not spool.root.exists()

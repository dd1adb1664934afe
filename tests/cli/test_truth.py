"""What is shown of a job: while it runs, when its worker has died, when it is to run again."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker


def row(queuectl: Queuectl, *words: str) -> dict[str, str]:
    """The columns of the one job in a table."""
    header, line = queuectl(*words).out.splitlines()
    names = [name.strip() for name in header.replace("LAST ERROR", "LAST-ERROR").split()]
    places = [header.index(name.replace("-", " ")) for name in names]
    ends = [*places[1:], None]
    return {n: line[a:b].strip() for n, a, b in zip(names, places, ends, strict=True)}


class TestAJobWhoseWorkerHasDied:
    @pytest.fixture(autouse=True)
    def abandoned(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        queuectl("enqueue", "--id", "a", "sleep 600")
        process = worker()
        eventually(lambda: "pid" in queuectl.json("show", "a"))
        assert "problem" not in queuectl.json("show", "a")
        process.kill()

    def test_says_so_and_names_no_pid_to_kill(self, queuectl: Queuectl) -> None:
        shown = queuectl("show", "a").out
        assert "its worker has died" in shown
        assert ", pid" not in shown
        assert "its worker has died" in queuectl("list").out

    def test_is_not_being_killed_by_it(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        said = queuectl("cancel", "a").out
        assert said == (
            "a is to be cancelled: its worker has died; the next worker that looks recovers it\n"
        )
        worker()
        eventually(lambda: spool.is_in("dead", "a"))
        assert spool.record("a")["history"][-1]["outcome"] == "cancelled"


def test_the_first_attempt_counts_while_it_runs(
    queuectl: Queuectl, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", "--id", "a", "sleep 600")
    worker()
    eventually(lambda: "pid" in queuectl.json("show", "a"))
    assert row(queuectl, "list")["TRIES"] == "1"
    assert queuectl("worker", "list").out.splitlines()[1].endswith("sleep 600")
    assert "attempt      1, started" in queuectl("show", "a").out


def test_an_interrupted_attempt_is_no_try_in_any_list(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", "--id", "a", "sleep 600")
    worker()
    eventually(lambda: "pid" in queuectl.json("show", "a"))
    queuectl("worker", "stop", "--now", "--wait")
    assert spool.is_in("pending", "a")
    assert row(queuectl, "list")["TRIES"] == "0"
    assert "told to stop" in row(queuectl, "list")["LAST-ERROR"]


def test_a_job_that_is_retried_by_hand_has_no_old_reason(
    queuectl: Queuectl, spool: Spool, settings: Configure, worker: StartWorker
) -> None:
    settings(max_retries=0)
    queuectl("enqueue", "--id", "a", "exit 7")
    worker("--drain").left()
    assert row(queuectl, "list")["LAST-ERROR"] == "exit status 7"
    assert row(queuectl, "dlq", "list")["REASON"] == "exit status 7"
    queuectl("dlq", "retry", "a")
    assert row(queuectl, "list")["LAST-ERROR"] == "-"
    assert row(queuectl, "list")["TRIES"] == "0"


@pytest.mark.parametrize(
    ("name", "text"),
    [("my job", '{"command": "true"}'), ("a", "no job at all")],
    ids=["name", "text"],
)
def test_a_file_that_is_no_job_died_at_some_time(
    queuectl: Queuectl,
    spool: Spool,
    worker: StartWorker,
    eventually: Eventually,
    name: str,
    text: Any,
) -> None:
    worker()
    spool.drop(f"{name}.json", text)
    eventually(lambda: spool.count("dead") == 1)
    assert row(queuectl, "dlq", "list")["DIED"].endswith("s ago")


def test_a_file_with_a_name_that_is_no_id_runs_when_it_is_retried(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    worker()
    spool.drop("grüße an alle.json", '{"command": "true"}')
    eventually(lambda: spool.count("dead") == 1)
    (job,) = queuectl.json("dlq", "list")
    assert 'put an "id" into it' in job["problem"]
    queuectl("dlq", "retry", job["id"])
    eventually(lambda: spool.is_in("completed", job["id"]))


def test_a_file_with_a_byte_order_mark_says_so(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    worker()
    spool.drop("a.json", '\ufeff{"command": "true"}')
    eventually(lambda: spool.count("dead") == 1)
    assert "byte order mark" in queuectl.json("dlq", "list")[0]["problem"]
    assert "byte order mark" in queuectl.error("enqueue", "-", input='\ufeff{"command": "true"}')

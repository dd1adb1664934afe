"""The Python API: enqueue, look, cancel, retry, purge."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.errors import AmbiguousId, InvalidInput, InvalidJob, NoSuchJob, WrongState
from queuectl.queue import default_path
from queuectl.record.job import STATES
from queuectl.spool.layout import DIRECTORIES

DEAD = '{"command": "true", "attempts": 1, "history": [{"attempt": 1, "outcome": "failed"}]}'
LATER = {"delay": 3600.0}


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"id": "a"}, "id", "a"),
        ({"priority": -3}, "priority", -3),
        ({"max_retries": 0}, "max_retries", 0),
        ({"timeout": 1.5}, "timeout", 1.5),
        ({"cwd": "/tmp"}, "cwd", "/tmp"),
        ({"cwd": Path("/tmp")}, "cwd", "/tmp"),
        ({"env": {"A": "b"}}, "env", {"A": "b"}),
        ({"run_at": "2030-01-01T00:00:00Z"}, "run_at", "2030-01-01T00:00:00Z"),
        (
            {"run_at": datetime(2030, 1, 1, 1, tzinfo=UTC)},
            "run_at",
            "2030-01-01T01:00:00.000000Z",
        ),
    ],
)
def test_an_option_is_a_field_of_the_job(
    queue: Queue, options: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(queue.get(queue.enqueue("true", **options)).job, field) == value


@pytest.mark.parametrize("command", ["echo a", ["echo", "a"], ("echo", "a")])
def test_a_command_is_kept_as_it_was_given(queue: Queue, command: Any) -> None:
    kept = queue.get(queue.enqueue(command)).job.command
    assert kept == (command if isinstance(command, str) else list(command))


def test_a_delay_counts_from_now(queue: Queue) -> None:
    before = clock.now()
    run_at = clock.parse_timestamp(queue.get(queue.enqueue("true", delay=60)).job.run_at)
    assert before + 60 <= run_at + 1e-6 <= clock.now() + 60 + 1e-6


def test_keys_of_ones_own_are_kept(queue: Queue) -> None:
    found = queue.get(queue.enqueue("true", extra={"note": {"a": [1.5, None]}})).to_dict()
    assert found["note"] == {"a": [1.5, None]}


def test_what_only_queuectl_writes_is_not_taken_from_outside(queue: Queue) -> None:
    theirs = {"attempts": 7, "history": [{"attempt": 1, "outcome": "ok"}]}
    (job_id,) = queue.enqueue_many([{"command": "true", **theirs}])
    job = queue.get(job_id).job
    assert (job.attempts, job.history) == (0, [])


@pytest.mark.parametrize(
    "options",
    [
        {"id": "a/b"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"delay": float("nan")},
        {"delay": 1e18},
        {"max_retries": -1},
        {"env": {"A": 1}},
        {"run_at": "soon"},
        {"delay": 1, "run_at": "2030-01-01T00:00:00Z"},
        {"extra": {"note": {1j}}},
    ],
    ids=str,
)
def test_an_invalid_option_is_refused(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        queue.enqueue("true", **options)
    assert queue.list() == []


def test_a_job_is_found_by_a_unique_prefix(queue: Queue) -> None:
    queue.enqueue("true", id="abc")
    queue.enqueue("true", id="abd")
    assert queue.get("abc").id == queue.get("abc").id == "abc"
    with pytest.raises(AmbiguousId, match="abc, abd"):
        queue.get("ab")


def test_an_exact_id_goes_before_a_longer_one(queue: Queue) -> None:
    for job_id in ("a", "ab"):
        queue.enqueue("true", id=job_id)
    assert queue.get("a").id == "a"


@pytest.mark.parametrize("text", ["b", "", "../pending/a", "a.json"])
def test_no_job_is_found_under_what_is_none(queue: Queue, text: str) -> None:
    queue.enqueue("true", id="a")
    with pytest.raises(NoSuchJob):
        queue.get(text)


@pytest.mark.parametrize("act", ["get", "cancel", "retry"])
def test_a_job_that_is_moving_is_not_mistaken_for_a_longer_id(
    queue: Queue,
    drop: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    act: str,
) -> None:
    for job_id in ("a", "ab"):
        drop(f"{job_id}.json", DEAD, state="failed")
    places, missed = queue.spool.reader.places, iter([True])
    monkeypatch.setattr(
        queue.spool.reader, "places", lambda job_id: [] if next(missed, False) else places(job_id)
    )
    getattr(queue, act)("a")
    assert queue.get("ab").state == "failed"
    assert act == "get" or queue.get("a").state != "failed"


def test_what_goes_on_is_listed_before_what_is_over(
    queue: Queue, drop: Callable[..., Path]
) -> None:
    for number, state in enumerate(("done", "dead", "failed", "pending")):
        for name in ("old", "new"):
            path = drop(f"{state}-{name}.json", state=state)
            os.utime(path, (number + 10 * (name == "new"),) * 2)
    listed = [found.id for found in queue.list()]
    assert listed == [
        *(f"{state}-{age}" for state in ("pending", "failed") for age in ("old", "new")),
        *(f"{state}-{age}" for state in ("dead", "done") for age in ("new", "old")),
    ]
    assert [found.id for found in queue.list(limit=3)] == listed[:3]
    assert [found.id for found in queue.list("dead", limit=1)] == ["dead-new"]


def test_the_status_counts_every_state(queue: Queue, drop: Callable[..., Path]) -> None:
    for state in STATES:
        if state != "processing":
            drop("a.json", state=DIRECTORIES[state])
    status = queue.status()
    assert status.jobs == {**dict.fromkeys(STATES, 1), "processing": 0}
    assert (status.spool, status.workers) == (queue.path, [])


def test_a_job_is_shown_as_one_json_object(queue: Queue) -> None:
    queue.enqueue("true", id="a", extra={"note": 1})
    shown = json.loads(json.dumps(queue.get("a").to_dict()))
    assert shown["path"] == f"{queue.path}/pending/a.json"
    assert (shown["id"], shown["state"], shown["note"]) == ("a", "pending", 1)


def test_what_runs_is_shown_with_its_worker_slot_and_process(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    def look(worker: Any) -> None:
        found = eventually(lambda: (got := queue.get("a")).pid and got)
        assert (found.state, found.worker, found.slot) == ("processing", worker.info.name, 1)
        (shown,) = queue.workers()
        assert (shown.name, shown.alive, shown.slots) == (worker.info.name, True, 1)
        (busy,) = shown.running
        assert (busy.id, busy.attempt, busy.pid) == ("a", 1, found.pid)
        worker.stop_now()

    queue.enqueue("exec sleep 1000", id="a")
    work(queue, look, slots=1)
    assert queue.workers() == []


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_waiting_job_that_is_cancelled_is_dead(
    queue: Queue, drop: Callable[..., Path], either_rename: str, state: str
) -> None:
    drop("a.json", DEAD, state=state)
    assert queue.cancel("a") == "dead"
    found = queue.get("a")
    assert (found.state, found.job.last_attempt.outcome) == ("dead", "cancelled")
    assert found.job.attempts == 1, "it is not counted"


def test_a_running_job_that_is_cancelled_is_ended_and_dead(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    def cancel(worker: Any) -> None:
        eventually(lambda: queue.get("a").pid)
        assert queue.cancel("a") == "processing"
        eventually(lambda: queue.get("a").state == "dead")
        worker.stop()

    queue.enqueue("sleep 1000", id="a", max_retries=9)
    worker = work(queue, cancel)
    assert queue.get("a").job.last_attempt.outcome == "cancelled"
    assert worker.tally.cancelled == 1


@pytest.mark.parametrize("state", ["done", "dead"])
def test_a_job_that_is_over_cannot_be_cancelled(
    queue: Queue, drop: Callable[..., Path], state: str
) -> None:
    drop("a.json", state=state)
    with pytest.raises(WrongState, match="already"):
        queue.cancel("a")


@pytest.mark.parametrize("state", ["dead", "failed"])
def test_a_job_that_is_retried_starts_anew_with_its_history(
    queue: Queue, drop: Callable[..., Path], either_rename: str, state: str
) -> None:
    drop("a.json", DEAD.replace("}]", '}], "run_at": "2030-01-01T00:00:00Z"'), state=state)
    assert queue.retry("a") == "a"
    found = queue.get("a")
    kept = None if state == "failed" else "2030-01-01T00:00:00Z"  # cancelled before its time
    assert (found.state, found.job.attempts, found.job.run_at) == ("pending", 0, kept)
    assert len(found.job.history) == 1


def test_the_attempts_of_a_retried_job_are_numbered_on(
    queue: Queue, root: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    drop("a.json", DEAD, state="dead")
    queue.retry("a")
    drain(queue)
    found = queue.get("a")
    assert [(e.attempt, e.outcome) for e in found.job.history] == [(1, "failed"), (2, "ok")]
    assert found.job.last_attempt.log == "logs/a.2.log"
    assert queue.log_path("a") == str(root / "logs" / "a.2.log")


@pytest.mark.parametrize("state", ["pending", "done"])
def test_a_job_that_is_not_dead_is_not_retried(
    queue: Queue, drop: Callable[..., Path], state: str
) -> None:
    drop("a.json", state=state)
    with pytest.raises(WrongState):
        queue.retry("a")


def test_a_dead_file_that_is_no_job_is_retried_once_it_is_mended(
    queue: Queue, root: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    drop("a.json", "[]")
    drain(queue)
    with pytest.raises(InvalidJob):
        queue.retry("a")
    (root / "dead" / "a.json").write_text('{"command": "true"}')
    queue.retry("a")
    assert not (root / "dead" / "a.error").exists()
    drain(queue)
    assert queue.get("a").state == "completed"


def test_a_purge_removes_what_is_old_enough_with_its_logs(
    queue: Queue, root: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    queue.enqueue("echo hello; exit 1", id="a", max_retries=1)
    drop("bad.json", "[]")
    drain(queue)
    assert queue.purge("dead", 3600) == 0
    assert queue.purge("dead", -1) == 2
    assert not [*(root / "dead").iterdir(), *(root / "logs").iterdir(), *(root / "tmp").iterdir()]


def test_a_purge_counts_from_when_a_job_came_to_its_state(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    os.utime(drop("a.json", "[]"), (1_000_000_000, 1_000_000_000))
    drain(queue)
    assert queue.purge("dead", 3600) == 0


def test_a_purge_removes_a_directory_that_was_dropped(
    queue: Queue, root: Path, drain: Callable[..., Any]
) -> None:
    (root / "pending" / "a.json" / "inside").mkdir(parents=True)
    drain(queue)
    assert queue.purge("dead", -1) == 1
    assert not [*(root / "dead").iterdir(), *(root / "tmp").iterdir()]


@pytest.mark.parametrize("state", ["pending", "failed", "processing"])
def test_jobs_that_are_not_over_are_not_purged(queue: Queue, state: Any) -> None:
    with pytest.raises(WrongState, match="cancel"):
        queue.purge(state)


def test_a_log_that_never_was_is_not_named(queue: Queue, drop: Callable[..., Path]) -> None:
    drop("a.json", DEAD, state="dead")
    queue.enqueue("true", id="b")
    assert queue.log_path("a", 1).endswith("/logs/a.1.log")
    for job_id, attempt in [("a", 2), ("a", 0), ("b", None)]:
        with pytest.raises(NoSuchJob, match="has had no"):
            queue.log_path(job_id, attempt)


def test_the_default_spool_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUEUECTL_SPOOL", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_path() == "/home/me/.local/state/queuectl"
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_path() == "/state/queuectl"
    monkeypatch.setenv("QUEUECTL_SPOOL", "/spool")
    assert default_path() == "/spool"


def test_a_naive_time_is_local(queue: Queue) -> None:
    soon = datetime.now().replace(microsecond=0) + timedelta(hours=1)
    run_at = queue.get(queue.enqueue("true", run_at=soon)).job.run_at
    assert clock.parse_timestamp(run_at) == soon.timestamp()


class TestTheOrderOfAList:
    @pytest.fixture
    def waiting(self, queue: Queue) -> list[str]:
        """Jobs in the order in which they will run, submitted in another."""
        queue.enqueue("echo tomorrow", id="e-late", delay=86400, priority=9)
        queue.enqueue("echo", id="c-first")
        queue.enqueue("echo soon", id="d-soon", delay=3600)
        queue.enqueue("echo", id="b-second")
        queue.enqueue("echo urgent", id="a-urgent", priority=5)
        return ["a-urgent", "c-first", "b-second", "d-soon", "e-late"]

    def test_is_that_in_which_waiting_jobs_will_run(self, queue: Queue, waiting: list[str]) -> None:
        assert [status.id for status in queue.list("pending")] == waiting
        assert [status.id for status in queue.list(limit=2)] == waiting[:2]

    def test_is_the_one_in_which_they_do_run(
        self, queue: Queue, waiting: list[str], drain: Callable[..., Any]
    ) -> None:
        drain(queue, slots=1)
        starts = [(s.job.last_attempt.started_at or "", s.id) for s in queue.list("completed")]
        assert [job_id for _, job_id in sorted(starts)] == waiting[:3]

    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            ({"sort": "id"}, "abcde"),
            ({"sort": "priority"}, "eacdb"),
            ({"sort": "created"}, "abdce"),
            ({"sort": "id", "limit": 2}, "ab"),
            ({"sort": "created", "state": "pending", "limit": 2}, "ab"),
            ({"sort": "created", "state": ["dead", "failed"]}, ""),
            ({"search": "SOON"}, "d"),
            ({"search": "-la"}, "e"),
            ({"search": "echo", "sort": "id", "state": ["dead", "pending"], "limit": 3}, "abc"),
            ({"search": "nothing"}, ""),
        ],
        ids=str,
    )
    def test_may_be_chosen_and_searched(
        self, queue: Queue, waiting: list[str], options: dict[str, Any], ids: str
    ) -> None:
        assert "".join(status.id[0] for status in queue.list(**options)) == ids

    def test_must_be_known(self, queue: Queue) -> None:
        sort: Any = "size"
        with pytest.raises(InvalidInput, match="choose from changed"):
            queue.list(sort=sort)

"""A worker: what runs, in which order, with what around it, and what is written of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.spool.claims import Claims
from queuectl.worker.slots import Slots
from queuectl.worker.tally import Tally
from queuectl.worker.worker import Worker

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def said(queue: Queue, drain: Callable[..., Any]) -> Callable[..., str]:
    """Run one command and return what it wrote."""

    def run(command: Any, **options: Any) -> str:
        job_id = queue.enqueue(command, id="said", **options)
        drain(queue)
        return Path(queue.log_path(job_id)).read_text()

    return run


@pytest.fixture
def stdin_with_data() -> Iterator[None]:
    """Give this process, and so its worker, an input that a command could read."""
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    os.close(reader)
    yield
    os.dup2(saved, 0)
    os.close(saved)


def test_urgent_jobs_run_first_and_equal_ones_oldest_first(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    for word, priority in [("c", 0), ("d", 0), ("e", -1), ("a", 9), ("b", 9)]:
        queue.enqueue(f"echo {word} >> {tmp_path}/order", priority=priority)
    drain(queue, slots=1)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c", "d", "e"]


def test_a_dropped_job_is_as_old_as_its_file(
    queue: Queue, tmp_path: Path, drop: Callable[..., Path], drain: Callable[..., Any]
) -> None:
    for word, age in [("b", 2), ("a", 1), ("c", 3)]:
        os.utime(
            drop(f"{word}.json", f'{{"command": "echo {word} >> {tmp_path}/order"}}'), (age,) * 2
        )
    drain(queue, slots=1)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c"]


def test_a_job_for_later_is_not_run_now(queue: Queue, drain: Callable[..., Any]) -> None:
    queue.enqueue("true", id="later", delay=3600)
    queue.enqueue("true", id="past", run_at=LONG_AGO)
    queue.enqueue("true", id="now")
    assert drain(queue) == Tally(ok=2, scheduled=1, drained=True)
    assert queue.get("later").state == "pending"


def test_a_job_for_soon_runs_when_its_time_has_come(queue: Queue, work: Callable[..., Any]) -> None:
    def wait(worker: Any) -> None:
        queue.wait([job_id], timeout=30)
        worker.stop()

    job_id = queue.enqueue("true", delay=0.3)
    work(queue, wait)
    job = queue.get(job_id).job
    started = clock.parse_timestamp(job.last_attempt.started_at)
    assert started >= clock.parse_timestamp(job.run_at)


def test_a_job_that_comes_while_a_worker_waits_is_run(
    queue: Queue, work: Callable[..., Any], drop: Callable[..., Path]
) -> None:
    queue.set_setting("rescan_interval", "3600")  # so that only an event tells of it

    def add(worker: Any) -> None:
        queue.wait([queue.enqueue("true")], timeout=20)
        drop("dropped.json")
        queue.wait(["dropped"], timeout=20)
        worker.stop()

    assert work(queue, add).tally.ok == 2


@pytest.mark.parametrize(
    ("command", "outcome", "exit_code", "signal", "error"),
    [
        ("true", "ok", 0, None, None),
        ("exit 3", "failed", 3, None, "exit status 3"),
        ("kill -9 $$", "failed", None, "SIGKILL", "killed by SIGKILL"),
        ("nosuchcommand", "failed", 127, None, "exit status 127"),
        (["nosuchcommand"], "failed", 127, None, "command not found: nosuchcommand"),
        (["/etc/passwd"], "failed", 126, None, "cannot be executed: Permission denied"),
        (["true", "x" * 200_000], "failed", 126, None, "Argument list too long"),
    ],
    ids=str,
)
def test_an_attempt_is_told_in_the_history(
    queue: Queue,
    drain: Callable[..., Any],
    command: Any,
    outcome: str,
    exit_code: int | None,
    signal: str | None,
    error: str | None,
) -> None:
    queue.enqueue(command, id="a", max_retries=0)
    drain(queue)
    found = queue.get("a")
    entry = found.job.last_attempt
    assert found.state == ("completed" if outcome == "ok" else "dead")
    assert (entry.outcome, entry.exit_code, entry.signal) == (outcome, exit_code, signal)
    assert (error or "") in (entry.error or "")
    assert (entry.attempt, entry.log, entry.host) == (1, "logs/a.1.log", os.uname().nodename)
    assert clock.parse_timestamp(entry.started_at) <= clock.parse_timestamp(entry.finished_at)


def test_a_job_is_retried_until_it_succeeds(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    count = f"echo x >> {tmp_path}/runs; test $(wc -l < {tmp_path}/runs) = 3"
    queue.enqueue(count, id="a")
    assert drain(queue) == Tally(ok=1, failed=2, drained=True)
    assert [e.outcome for e in queue.get("a").job.history] == ["failed", "failed", "ok"]


def test_a_job_that_always_fails_runs_four_times_and_is_dead(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    queue.enqueue(f"echo $QUEUECTL_ATTEMPT >> {tmp_path}/runs; false", id="a")
    assert drain(queue) == Tally(failed=4, dead=1, drained=True)
    assert (tmp_path / "runs").read_text().split() == ["1", "2", "3", "4"]
    assert (queue.get("a").state, queue.get("a").job.attempts) == ("dead", 4)


def test_a_job_that_a_person_moved_to_pending_runs_once_more(
    queue: Queue, root: Path, drain: Callable[..., Any]
) -> None:
    queue.enqueue("false", id="a", max_retries=0)
    drain(queue)
    (root / "dead" / "a.json").rename(root / "pending" / "a.json")
    drain(queue)
    assert [entry.attempt for entry in queue.get("a").job.history] == [1, 2]
    assert queue.get("a").state == "dead"


def test_a_command_knows_its_spool_job_and_attempt(queue: Queue, said: Any) -> None:
    env = {"MINE": "kept", "QUEUECTL_JOB_ID": "lie"}
    words = "echo $MINE $QUEUECTL_SPOOL $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT; echo $QUEUECTL_RUN"
    first, run = said(words, env=env).splitlines()
    assert first == f"kept {queue.path} said 1"
    assert run


def test_a_string_is_run_by_a_shell_and_an_array_as_it_is(said: Any) -> None:
    assert said(["echo", "$HOME", "a  b", "*"]) == "$HOME a  b *\n"


def test_a_command_runs_where_it_is_told(said: Any, tmp_path: Path) -> None:
    assert said("pwd", cwd=tmp_path) == f"{tmp_path}\n"


def test_a_command_that_is_not_told_where_runs_where_its_worker_does(said: Any) -> None:
    assert said("pwd") == f"{os.getcwd()}\n"


def test_a_directory_that_is_not_there_is_a_failure(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    queue.enqueue("true", id="a", cwd=tmp_path / "none", max_retries=0)
    drain(queue)
    assert "is not a directory" in str(queue.get("a").job.last_attempt.error)


def test_a_command_reads_nothing(said: Any, stdin_with_data: None) -> None:
    assert said("cat; readlink /proc/self/fd/0 || true").strip() in ("/dev/null", "")


def test_both_outputs_of_a_command_are_in_its_log(said: Any) -> None:
    assert said("echo out; echo err >&2") == "out\nerr\n"


def test_a_command_gets_no_descriptor_of_ours_but_its_run_file(said: Any) -> None:
    listed = said("for fd in /proc/self/fd/*; do readlink $fd || true; done")
    theirs = [line for line in listed.split() if line.startswith("/") and "/proc/" not in line]
    assert {Path(line).name for line in theirs} == {"null", "said.1.log", "said.1.run"}


def test_a_command_leads_a_session_and_a_group_of_its_own(said: Any) -> None:
    group, session, pid = said("sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3,4; echo $$").split()
    assert pid == group == session


@pytest.mark.parametrize("seconds", [3_000_000.0, 1e300])
def test_a_timeout_of_many_days_is_no_trouble(
    queue: Queue, drain: Callable[..., Any], seconds: float
) -> None:
    queue.enqueue("true", id="a", timeout=seconds)
    drain(queue)
    assert queue.get("a").state == "completed"


def test_two_slots_run_two_jobs_at_once(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    for mine, theirs in [("a", "b"), ("b", "a")]:
        os.mkfifo(tmp_path / mine)
        queue.enqueue(
            f"echo x > {mine} & cat {theirs}; wait", cwd=tmp_path, timeout=20, max_retries=0
        )
    assert drain(queue, slots=2).ok == 2


def test_an_attempt_in_an_older_log_is_written_behind_it(
    queue: Queue, root: Path, said: Any
) -> None:
    (root / "logs" / "said.1.log").write_text("before\n")
    assert said("echo after") == "before\nafter\n"


def test_two_workers_share_the_jobs_and_run_each_once(
    queue: Queue, tmp_path: Path, at_once: Callable[..., list[Any]]
) -> None:
    ids = queue.enqueue_many({"command": f"echo x >> {tmp_path}/runs"} for _ in range(40))
    at_once(_drain_at, [(queue.path,)] * 2)
    assert queue.spool.reader.counts()["completed"] == len(ids)
    assert len((tmp_path / "runs").read_text().split()) == len(ids)


def _drain_at(path: str) -> int:
    from queuectl.worker.worker import Worker

    return Worker(Queue(path).spool, 2, drain=True).run().ok


def test_a_job_that_is_put_off_as_it_is_claimed_waits(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = queue.get(queue.enqueue("true", id="a")).path
    claim = Claims.take

    def put_off_first(*args: Any) -> Any:
        record = json.loads(Path(path).read_text())
        Path(path).write_text(json.dumps({**record, "run_at": "2099-01-01T00:00:00Z"}))
        return claim(*args)

    monkeypatch.setattr(Claims, "take", put_off_first)
    tally = drain(queue)
    assert (tally.scheduled, queue.get("a").state, queue.get("a").job.history) == (1, "pending", [])


def test_a_broken_pipe_ends_a_command(said: Any) -> None:
    assert said("sh -c 'kill -PIPE $$'; echo $?") == "141\n"


def test_a_cancel_holds_for_one_job_and_not_for_the_next_of_its_slot(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    def cancel(worker: Worker) -> None:
        eventually(lambda: queue.get("a").pid)
        queue.cancel("a")
        queue.wait(["a", "b"], timeout=20)
        worker.stop()

    queue.enqueue("sleep 1000", id="a", priority=1)
    queue.enqueue("true", id="b")
    work(queue, cancel, slots=1)
    assert (queue.get("a").state, queue.get("b").state) == ("dead", "completed")


def test_a_job_that_is_cancelled_before_its_command_starts_does_not_start(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claims.take

    def cancelled(*args: Any) -> Any:
        taken = claim(*args)
        queue.cancel("a")
        return taken

    monkeypatch.setattr(Claims, "take", cancelled)
    monkeypatch.setattr(Slots, "check_cancels", lambda _: None)  # its event may come too late
    queue.enqueue(f"touch {tmp_path}/started", id="a")
    drain(queue)
    assert [entry.outcome for entry in queue.get("a").job.history] == ["cancelled"]
    assert not (tmp_path / "started").exists()


def test_a_worker_counts_the_jobs_for_later_that_still_wait(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    for name in ("stays", "goes"):
        queue.enqueue("true", id=name, delay=1000)

    def script(worker: Any) -> None:
        eventually(lambda: len(worker._intake.backlog.scheduled()) == 2)
        queue.cancel("goes")  # no event tells of that
        worker.stop()

    assert work(queue, script).tally.scheduled == 1

"""Hooks as a person meets them: set by command, run by workers that come, go and die."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker


@pytest.fixture
def told(queuectl: Queuectl, settings: Configure, tmp_path: Path) -> Callable[[], list[str]]:
    """Let every hook write down its event and its job; return what was written, sorted."""
    settings(backoff_base=0)
    file = tmp_path / "told"
    file.touch()
    for event in ("done", "dead", "idle"):
        queuectl("config", "set", f"on_{event}", f"echo $QUEUECTL_EVENT $QUEUECTL_JOB_ID >> {file}")
    return lambda: sorted(line.strip() for line in file.read_text().splitlines())


def test_a_drain_runs_all_hooks_before_it_leaves(
    queuectl: Queuectl, told: Callable[[], list[str]]
) -> None:
    queuectl("enqueue", "--id", "good", "true")
    queuectl("enqueue", "--id", "bad", "--max-retries", "1", "false")
    queuectl("worker", "start", "--drain")
    assert told() == ["dead bad", "done good", "idle"]


def test_a_command_is_taken_as_it_is_typed(queuectl: Queuectl, settings: Configure) -> None:
    settings()
    typed = """sh -c 'echo "$1"' -- "$QUEUECTL_JOB_ID"; : # = 3"""
    queuectl("config", "set", "on_done", typed)
    assert queuectl("config", "get", "on_done").out == f"{typed}\n"
    assert queuectl.json("config", "list")["on_done"] == typed
    queuectl("config", "unset", "on_done")
    assert queuectl.json("config", "get", "on_done") is None


def test_no_command_is_no_hook(queuectl: Queuectl) -> None:
    assert "on_dead must be a shell command" in queuectl.error("config", "set", "on_dead", " ")


def test_hooks_of_a_worker_that_was_killed_are_run_by_the_next(
    queuectl: Queuectl,
    spool: Spool,
    worker: StartWorker,
    told: Callable[[], list[str]],
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    queuectl("config", "set", "on_done", f"touch {tmp_path}/$QUEUECTL_JOB_ID; sleep 1000")
    process = worker()
    for job_id in ("a", "b", "c"):
        queuectl("enqueue", "--id", job_id, "true")
    eventually(lambda: spool.is_in("completed", "a", "b", "c") and (tmp_path / "a").exists())
    process.send(signal.SIGKILL)
    process.left()
    assert "hooks to run; the next worker runs them" in queuectl("check", code=1).out
    queuectl("config", "set", "on_done", f"echo done $QUEUECTL_JOB_ID >> {tmp_path}/told")
    queuectl("worker", "start", "--drain")
    assert sorted({*told()}) == ["done a", "done b", "done c", "idle"]
    assert not [*(spool.root / "processing").iterdir(), *(spool.root / "workers").iterdir()]


def test_a_job_whose_worker_was_killed_is_told_when_it_is_given_up_on(
    queuectl: Queuectl,
    worker: StartWorker,
    told: Callable[[], list[str]],
    eventually: Eventually,
    spool: Spool,
) -> None:
    process = worker()
    queuectl("enqueue", "--id", "a", "--max-retries", "0", "sleep 1000")
    eventually(lambda: [*spool.root.glob("processing/*/a.1.run")])
    process.send(signal.SIGKILL)
    process.left()
    queuectl("worker", "start", "--drain")
    assert told() == ["dead a", "idle"]


def test_a_worker_that_is_told_to_stop_now_leaves_its_hooks_to_the_next(
    queuectl: Queuectl,
    spool: Spool,
    worker: StartWorker,
    told: Callable[[], list[str]],
    eventually: Eventually,
    processes_with: Callable[[str], list[int]],
    tmp_path: Path,
) -> None:
    queuectl("config", "set", "on_done", "sleep 1234.5")
    process = worker()
    queuectl("enqueue", "--id", "a", "true")
    eventually(lambda: processes_with("sleep 1234.5"))
    queuectl("worker", "stop", "--now", "--wait")
    assert process.left() == 0
    assert not processes_with("sleep 1234.5")
    (worker_of_old,) = queuectl.json("worker", "list")
    assert not worker_of_old["alive"]
    queuectl("config", "set", "on_done", f"echo done $QUEUECTL_JOB_ID >> {tmp_path}/told")
    queuectl("worker", "start", "--drain")
    assert "done a" in told()


def test_a_hook_that_fails_is_one_line_of_the_worker(
    queuectl: Queuectl, told: Callable[[], list[str]]
) -> None:
    queuectl("config", "set", "on_done", "printf 'a\\nb\\033[31m'; exit 4")
    queuectl("enqueue", "--id", "a", "true")
    said = queuectl("worker", "start", "--drain").err
    (line,) = [line for line in said.splitlines() if "hook" in line]
    assert line.endswith("hook on_done of job a failed: exit status 4: a b\\x1b[31m")


def test_settings_that_others_may_write_are_refused(
    queuectl: Queuectl, spool: Spool, settings: Configure
) -> None:
    settings()
    (spool.root / "queue.toml").chmod(0o620)
    said = queuectl.error("worker", "start", "--drain", code=1)
    assert "queue.toml is writable by others" in said
    queuectl("worker", "start", "--drain", "--allow-shared")

"""Hooks of a real worker: when they run, what they are told, and that no slot waits for them."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.hooks import TELL

from queuectl import Queue
from queuectl.disk.durable import Disk
from queuectl.process import spawn, survivors
from queuectl.spool.claims import Claims
from queuectl.worker.worker import Worker


@pytest.fixture
def given(queue: Queue, tmp_path: Path, drain: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    """Drain with a hook that writes its environment to a file; return queuectl's variables."""
    shown = tmp_path / "shown"

    def run(event: str) -> dict[str, str]:
        queue.set_setting(f"on_{event}", f"cat /proc/self/environ > {shown}")
        drain(queue)
        pairs = shown.read_bytes().decode(errors="surrogateescape").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if pair.startswith("QUEUECTL_"))

    return run


def test_each_event_has_its_hook(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any], told: Any, markers: Any
) -> None:
    queue.enqueue("true", id="good")
    queue.enqueue("false", id="bad", max_retries=1)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead bad", "dead broken", "done good", "idle"]
    assert markers() == []


def test_a_cancelled_job_has_no_hook(
    queue: Queue, root: Path, work: Callable[..., Any], eventually: Callable[..., Any], told: Any
) -> None:
    def cancel(worker: Worker) -> None:
        eventually(lambda: queue.get("runs").pid)
        queue.cancel("runs")
        eventually(lambda: queue.get("runs").state == "dead")
        worker.stop()

    queue.enqueue("true", id="waits", delay=100)
    queue.enqueue("sleep 1000", id="runs")
    queue.cancel("waits")
    work(queue, cancel)
    assert told() == ["idle"]


def test_a_hook_gets_the_facts_of_its_job(queue: Queue, root: Path, given: Any) -> None:
    queue.enqueue("echo why; exit 7", id="a", max_retries=0)
    shown = given("dead")
    worker = shown.pop("QUEUECTL_WORKER")
    assert shown.pop("QUEUECTL_RUN").startswith(f"{worker}.a.1.")
    assert shown == {
        "QUEUECTL_SPOOL": str(root),
        "QUEUECTL_EVENT": "dead",
        "QUEUECTL_JOB_ID": "a",
        "QUEUECTL_JOB_FILE": f"{root}/dead/a.json",
        "QUEUECTL_STATE": "dead",
        "QUEUECTL_OUTCOME": "failed",
        "QUEUECTL_ATTEMPT": "1",
        "QUEUECTL_ATTEMPTS": "1",
        "QUEUECTL_EXIT_CODE": "7",
        "QUEUECTL_ERROR": "exit status 7",
        "QUEUECTL_COMMAND": "echo why; exit 7",
        "QUEUECTL_LOG": f"{root}/logs/a.1.log",
    }
    assert Path(shown["QUEUECTL_LOG"]).read_text() == "why\n"


def test_a_worker_inside_a_job_does_not_pass_on_variables_of_that_job(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    for name in ("JOB_ID", "JOB_FILE", "SIGNAL", "OUTCOME", "EXIT_CODE", "ATTEMPT"):
        monkeypatch.setenv(f"QUEUECTL_{name}", "of another")
    queue.enqueue("true", id="a")
    assert set(given("idle")) == {"QUEUECTL_SPOOL", "QUEUECTL_EVENT", "QUEUECTL_RUN"}


@pytest.mark.parametrize(
    "command",
    ["true; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", "true\n#\\", "é"],
)
def test_a_hostile_command_is_only_a_value(
    queue: Queue, tmp_path: Path, given: Any, command: str
) -> None:
    queue.enqueue(["false", command], id="a..b", max_retries=0, cwd=tmp_path)
    shown = given("dead")
    assert shown["QUEUECTL_JOB_ID"] == "a..b"
    assert shlex.split(shown["QUEUECTL_COMMAND"]) == ["false", command]
    assert not [*tmp_path.rglob("PWNED")]


@pytest.mark.parametrize("command", ["true " + "x" * 500_000, ["true", "é" * 200_000]], ids=len)
def test_a_value_that_is_too_long_is_cut(
    queue: Queue, given: Any, command: str | list[str]
) -> None:
    queue.enqueue(command, id="a", max_retries=0)
    shown = given("dead")
    assert 90_000 < len(shown["QUEUECTL_COMMAND"].encode()) <= 100_000


def test_a_hook_gets_the_new_id_of_a_renamed_job(
    queue: Queue, root: Path, drop: Callable[..., Path], given: Any
) -> None:
    drop("a.json", state="done")
    queue.enqueue(f"cp {root}/done/a.json {root}/dead/a.json; false", id="b", max_retries=0)
    drop("a.json")
    shown = given("done")
    assert shown["QUEUECTL_JOB_ID"] == "a.2"
    assert shown["QUEUECTL_JOB_FILE"] == f"{root}/done/a.2.json"


def test_a_hook_runs_although_its_job_was_removed(queue: Queue, root: Path, given: Any) -> None:
    queue.set_setting("keep_done_count", "0")
    queue.enqueue("true", id="a")
    shown = given("done")
    assert (shown["QUEUECTL_JOB_ID"], shown["QUEUECTL_OUTCOME"]) == ("a", "ok")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo one; echo two >&2; exit 3", "on_done of job a failed: exit status 3: one two"),
        ("nosuchcommand", "on_done of job a failed: exit status 127"),
        ("kill -9 $$", "on_done of job a failed: killed by SIGKILL"),
        ("yes | head -c 99999; exit 1", "exit status 1: ...y y y"),
        ("echo 'unfinished", "on_done of job a failed: exit status 2"),
    ],
)
def test_a_hook_that_fails_is_logged_in_one_line_and_not_run_again(
    queue: Queue,
    drain: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    markers: Any,
    command: str,
    words: str,
) -> None:
    queue.set_setting("on_done", command)
    queue.enqueue("true", id="a")
    assert drain(queue).ok == 1
    (line,) = [r.getMessage() for r in caplog.records if "hook" in r.getMessage()]
    assert words in line
    assert "\n" not in line
    assert len(line) < 500
    assert markers() == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EBUSY, errno.EINVAL, errno.EIO])
def test_a_hook_that_cannot_be_started_now_is_started_later(
    queue: Queue, drain: Callable[..., Any], told: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    start = spawn.start
    refused: list[list[str]] = []

    def refuse_once(words: list[str], *args: Any, **options: Any) -> Any:
        if not options.get("inherited") and not refused:
            refused.append(words)
            raise OSError(code, os.strerror(code))
        return start(words, *args, **options)

    monkeypatch.setattr(spawn, "start", refuse_once)
    queue.enqueue("true", id="a")
    drain(queue)
    assert len(refused) == 1
    assert told() == ["done a", "idle"]


def test_a_hook_that_hangs_is_ended_with_all_of_its_processes(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue.set_setting("hook_timeout", "0.3")
    queue.set_setting("on_done", f"setsid sleep 1000 & echo $! > {tmp_path}/pid; sleep 1000")
    queue.enqueue("true", id="a")
    drain(queue)
    assert "on_done of job a failed: ran longer than 0.3 s" in caplog.text
    assert survivors._about(int((tmp_path / "pid").read_text())) is None


def test_a_hook_may_leave_a_process_running(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    queue.set_setting("on_done", f"sleep 0.4 && echo x > {tmp_path}/late &")
    queue.enqueue("true")
    drain(queue)
    eventually((tmp_path / "late").exists)


def test_no_slot_waits_for_a_hook(
    queue: Queue, root: Path, tmp_path: Path, work: Callable[..., Any], markers: Any
) -> None:
    queue.set_setting("on_done", f"until [ -e {tmp_path}/go ]; do sleep 0.02; done")
    ids = [queue.enqueue("true") for _ in range(6)]

    def watch(worker: Worker) -> None:
        queue.wait(ids, timeout=20)  # all jobs have ended, although no hook has
        assert len(markers()) == 6
        worker.stop()
        (tmp_path / "go").touch()

    work(queue, watch, slots=2)
    assert markers() == []


def test_at_most_as_many_hooks_run_at_a_time_as_there_are_slots(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    log = tmp_path / "log"
    queue.set_setting("on_done", f"echo + >> {log}; sleep 0.2; echo - >> {log}")
    queue.enqueue_many({"command": "true"} for _ in range(9))
    drain(queue, slots=3)
    depths, depth = [], 0
    for sign in log.read_text().split():
        depth += 1 if sign == "+" else -1
        depths.append(depth)
    assert len(depths) == 18
    assert max(depths) in (2, 3)


def test_a_hook_runs_the_command_that_is_set_when_it_runs(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    markers: Any,
) -> None:  # fmt: skip
    def change(worker: Worker) -> None:
        queue.wait([queue.enqueue("true", id="before")], timeout=20)
        queue.set_setting("on_done", f"{TELL} {tmp_path}/told")
        queue.wait([queue.enqueue("true", id="during")], timeout=20)
        eventually(lambda: not markers())
        queue.unset_setting("on_done")
        queue.wait([queue.enqueue("true", id="after")], timeout=20)
        worker.stop()

    work(queue, change)
    assert (tmp_path / "told").read_text() == "done during\n"


def test_without_hooks_nothing_is_written(
    queue: Queue, root: Path, work: Callable[..., Any]
) -> None:
    def look(worker: Worker) -> None:
        queue.wait([queue.enqueue("true"), queue.enqueue("false", max_retries=0)], timeout=20)
        assert not [*(root / "processing").glob("*/hooks")]
        worker.stop()

    work(queue, look)


# -- idle --------------------------------------------------------------------------------------


def test_the_idle_hook_runs_once_when_only_scheduled_jobs_are_left(
    queue: Queue, work: Callable[..., Any], eventually: Callable[..., Any], told: Any
) -> None:
    queue.unset_setting("on_done")
    queue.enqueue("true", id="later", delay=3600)
    queue.enqueue("exit 1", id="retried", max_retries=1)
    ids = [queue.enqueue("true") for _ in range(5)]

    def watch(worker: Worker) -> None:
        queue.wait(ids, timeout=20)
        eventually(lambda: "idle" in (told() if queue.get("retried").state == "dead" else []))
        worker.stop()

    work(queue, watch)
    assert told() == ["dead retried", "idle"]


def test_the_idle_hook_runs_each_time_the_queue_becomes_idle(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    file = tmp_path / "told"
    queue.set_setting("on_idle", f"echo idle >> {file}")

    def watch(worker: Worker) -> None:
        for number in (1, 2, 3):
            queue.enqueue("true")
            eventually(lambda: file.exists() and file.read_text() == "idle\n" * number)  # noqa: B023 - called at once
        worker.stop()

    work(queue, watch)
    assert file.read_text() == "idle\n" * 3


def test_the_idle_hook_does_not_run_if_there_was_no_work(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    queue.set_setting("on_idle", f"touch {tmp_path}/told")
    queue.enqueue("true", delay=3600)
    drain(queue)
    assert not (tmp_path / "told").exists()


def test_a_job_that_a_hook_enqueues_is_drained_too(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    dropped = f"{queue.path}/pending/$QUEUECTL_JOB_ID-next.json"
    queue.set_setting(
        "on_done", f"""case $QUEUECTL_JOB_ID in *next) ;; *) echo '{{"command": "true"}}' >
        {queue.path}/tmp/x; mv {queue.path}/tmp/x {dropped};; esac""".replace("\n", " ")
    )  # fmt: skip
    queue.enqueue("true", id="a")
    assert drain(queue).ok == 2
    assert queue.get("a-next").state == "completed"


def test_a_worker_that_stops_runs_the_idle_hook_if_the_queue_is_idle(
    queue: Queue, tmp_path: Path, work: Callable[..., Any], eventually: Callable[..., Any],
    told: Any,
) -> None:  # fmt: skip
    os.mkfifo(tmp_path / "go")
    queue.enqueue(f"cat {tmp_path}/go", id="a")

    def stop(worker: Worker) -> None:
        eventually(lambda: queue.get("a").pid)
        worker.stop()
        (tmp_path / "go").write_text("go")

    work(queue, stop)
    assert told() == ["done a", "idle"]


def test_a_marker_is_on_disk_before_its_event(
    queue: Queue, drain: Callable[..., Any], told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    commit, settle = Disk.commit, Claims.settle

    def noted_commit(disk: Disk, *paths: str) -> None:
        commit(disk, *paths)
        if paths[-1].endswith("/hooks"):
            steps.append(f"{len(os.listdir(paths[-1]))} on disk")

    def noted_settle(*args: Any) -> Any:
        steps.append("settle")
        return settle(*args)

    queue.enqueue("true", id="a")
    monkeypatch.setattr(Disk, "commit", noted_commit)
    monkeypatch.setattr(Claims, "settle", noted_settle)
    drain(queue)
    assert steps[:2] == ["1 on disk", "settle"]
    assert told() == ["done a", "idle"]

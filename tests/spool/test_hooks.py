"""Hooks of a real worker: what runs when, what it is told, and what holds nothing up."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.process import survivors
from queuectl.record.job import Attempt
from queuectl.spool import integrity
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.recovery import recover
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool
from queuectl.worker.worker import Worker

TELL = 'echo "$QUEUECTL_EVENT $QUEUECTL_JOB_ID" >> '


@pytest.fixture
def told(queue: Queue, tmp_path: Path) -> Callable[[], list[str]]:
    """Let every hook write down its event and its job; return what was written, sorted."""
    file = tmp_path / "told"
    for event in ("done", "dead", "idle"):
        queue.set_setting(f"on_{event}", f"{TELL} {file}")
    file.touch()
    return lambda: sorted(line.strip() for line in file.read_text().splitlines())


@pytest.fixture
def given(queue: Queue, tmp_path: Path, drain: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    """Drain with a hook that shows its environment, and return what it was given."""
    shown = tmp_path / "shown"

    def run(event: str) -> dict[str, str]:
        queue.set_setting(f"on_{event}", f"cat /proc/self/environ > {shown}")
        drain(queue)
        pairs = shown.read_bytes().decode(errors="surrogateescape").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if pair.startswith("QUEUECTL_"))

    return run


@pytest.fixture
def markers(root: Path) -> Callable[[], list[str]]:
    return lambda: sorted(path.name for path in (root / "processing").rglob("*.hook"))


def test_each_event_has_its_hook(
    queue: Queue, drop: Callable[..., Path], drain: Callable[..., Any], told: Any, markers: Any
) -> None:
    queue.enqueue("true", id="good")
    queue.enqueue("false", id="bad", max_retries=1)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead bad", "dead broken", "done good", "idle"]
    assert markers() == []


def test_no_hook_is_told_of_what_a_person_has_done(
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


def test_a_hook_of_a_job_is_given_its_facts(queue: Queue, root: Path, given: Any) -> None:
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


def test_a_worker_in_a_job_passes_nothing_of_that_job_on(
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
def test_a_hostile_command_is_a_value_and_no_more(
    queue: Queue, tmp_path: Path, given: Any, command: str
) -> None:
    queue.enqueue(["false", command], id="a..b", max_retries=0, cwd=tmp_path)
    shown = given("dead")
    assert shown["QUEUECTL_JOB_ID"] == "a..b"
    assert shlex.split(shown["QUEUECTL_COMMAND"]) == ["false", command]
    assert not [*tmp_path.rglob("PWNED")]


@pytest.mark.parametrize("command", ["true " + "x" * 500_000, ["true", "é" * 200_000]], ids=len)
def test_what_is_too_long_for_a_program_is_cut(
    queue: Queue, given: Any, command: str | list[str]
) -> None:
    queue.enqueue(command, id="a", max_retries=0)
    shown = given("dead")
    assert 90_000 < len(shown["QUEUECTL_COMMAND"].encode()) <= 100_000


def test_a_job_that_was_given_another_id_is_told_under_that(
    queue: Queue, root: Path, drop: Callable[..., Path], given: Any
) -> None:
    drop("a.json", state="done")
    queue.enqueue(f"cp {root}/done/a.json {root}/dead/a.json; false", id="b", max_retries=0)
    drop("a.json")
    shown = given("done")
    assert shown["QUEUECTL_JOB_ID"] == "a.2"
    assert shown["QUEUECTL_JOB_FILE"] == f"{root}/done/a.2.json"


def test_a_job_that_is_gone_meanwhile_is_told_all_the_same(
    queue: Queue, root: Path, given: Any
) -> None:
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
def test_a_hook_that_fails_is_told_in_one_line_and_not_run_again(
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


def test_a_hook_that_hangs_is_ended_with_all_it_started(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue.set_setting("hook_timeout", "0.3")
    queue.set_setting("on_done", f"setsid sleep 1000 & echo $! > {tmp_path}/pid; sleep 1000")
    queue.enqueue("true", id="a")
    drain(queue)
    assert "on_done of job a failed: ran longer than 0.3 s" in caplog.text
    assert survivors._about(int((tmp_path / "pid").read_text())) is None


def test_a_hook_may_leave_something_running(
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
        queue.wait(ids, timeout=20)  # all, though not one hook has ended
        assert len(markers()) == 6
        worker.stop()
        (tmp_path / "go").touch()

    work(queue, watch, slots=2)
    assert markers() == []


def test_as_many_hooks_run_at_a_time_as_there_are_slots(
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


def test_a_hook_is_what_the_settings_say_when_it_runs(
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


def test_idle_is_told_once_when_all_is_done_but_what_is_for_later(
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


def test_each_time_it_becomes_idle_is_told(
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


def test_a_queue_that_was_idle_all_along_tells_nothing(
    queue: Queue, tmp_path: Path, drain: Callable[..., Any]
) -> None:
    queue.set_setting("on_idle", f"touch {tmp_path}/told")
    queue.enqueue("true", delay=3600)
    drain(queue)
    assert not (tmp_path / "told").exists()


def test_what_a_hook_enqueues_is_drained_too(
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


def test_whoever_leaves_last_tells_that_it_is_idle(
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


# -- leaving and dying -------------------------------------------------------------------------


def test_a_worker_that_stops_lets_its_hooks_end(
    queue: Queue, root: Path, tmp_path: Path, work: Callable[..., Any]
) -> None:
    queue.set_setting("on_done", f"sleep 0.3; {TELL} {tmp_path}/told")
    ids = [queue.enqueue("true") for _ in range(4)]

    def stop(worker: Worker) -> None:
        queue.wait(ids, timeout=20)
        worker.stop()

    work(queue, stop)
    assert len((tmp_path / "told").read_text().split()) == 8
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


@pytest.mark.parametrize("how", ["by call", "by a second signal", "by file"])
def test_hooks_of_a_worker_that_stops_now_are_run_by_the_next(
    queue: Queue,
    root: Path,
    tmp_path: Path,
    work: Callable[..., Any],
    drain: Callable[..., Any],
    eventually: Callable[..., Any],
    markers: Any,
    how: str,
) -> None:
    queue.set_setting("on_done", f"touch {tmp_path}/$QUEUECTL_JOB_ID.began; sleep 1000")
    for job_id in ("a", "b"):
        queue.enqueue("true", id=job_id)

    def stop(worker: Worker) -> None:
        queue.wait(["a", "b"], timeout=20)
        eventually(lambda: [*tmp_path.glob("*.began")])
        if how == "by call":
            worker.stop_now()
        elif how == "by file":
            worker.stop()
            eventually(lambda: not worker._slots.left)
            queue.stop_worker(worker.info.name, now=True)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(lambda: not worker._slots.left)
            os.kill(os.getpid(), signal.SIGTERM)

    work(queue, stop, slots=1)
    assert len(markers()) == 2
    queue.set_setting("on_done", f"{TELL} {tmp_path}/told")
    drain(queue)
    assert sorted((tmp_path / "told").read_text().splitlines()) == ["done a", "done b"]
    assert not [*(root / "workers").iterdir(), *(root / "processing").iterdir()]


def _claim(spool: Spool, holder: Holder, job_id: str) -> Any:
    sight = spool.reader.look("pending", f"{job_id}.json")
    assert isinstance(sight, Ready)
    return spool.claims.take(holder.name, "pending", f"{job_id}.json", sight)


def test_a_job_that_its_worker_takes_to_the_grave_is_told_by_the_next(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any], told: Any
) -> None:
    queue.enqueue("true", id="a", max_retries=0)
    holder = Holder(spool)
    _claim(spool, holder, "a")
    bury(holder)
    drain(queue)
    assert told() == ["dead a", "idle"]
    assert queue.get("a").job.last_attempt.outcome == "lost"


def test_a_claim_that_has_become_no_job_is_told_by_the_next(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any], told: Any
) -> None:
    queue.enqueue("true", id="a")
    holder = Holder(spool)
    Path(_claim(spool, holder, "a").path).write_text("{")
    bury(holder)
    drain(queue)
    assert told() == ["dead a", "idle"]


@pytest.mark.parametrize("held", ["ok", "failed"])
def test_a_job_that_a_dead_command_held_is_no_event(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], drain: Callable[..., Any],
    told: Any, held: Any,
) -> None:  # fmt: skip
    queue.enqueue("true" if held == "ok" else "false", id="a", max_retries=0)
    drain(queue)
    before = told()
    holder = Holder(spool)
    assert spool.claims.hold(holder.name, spool.reader.find("a"))
    bury(holder)
    drain(queue)
    assert told() == sorted([*before, "idle"])


def test_recovery_without_a_worker_keeps_the_hooks_for_one(
    queue: Queue,
    spool: Spool,
    bury: Callable[[Holder], None],
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    queue.enqueue("true", id="a", max_retries=0)
    holder = Holder(spool)
    _claim(spool, holder, "a")
    bury(holder)
    assert queue.settings.on_dead
    assert [f.damage for f in integrity.check(spool, repair=True)] == ["leftover claims"]
    (finding,) = integrity.check(spool, repair=True)
    assert "1 hooks to run" in finding.problem
    assert not finding.repaired
    assert queue.status().jobs["processing"] == 0
    recover(spool, grace=0, draw=0)
    assert len(markers()) == 1
    drain(queue)
    assert told() == ["dead a", "idle"]
    assert integrity.check(spool, repair=False) == []


def test_markers_of_a_claim_that_cannot_be_moved_on_yet_stay_with_it(
    queue: Queue, spool: Spool, bury: Callable[[Holder], None], told: Any, markers: Any
) -> None:
    from queuectl.spool import hook_markers, hook_recovery

    queue.enqueue("true", id="a")
    holder = Holder(spool)
    claim = _claim(spool, holder, "a")
    entry = Attempt(attempt=1, outcome="ok", worker=holder.name)
    record = claim.job.with_attempt(entry, attempts=1)
    assert hook_markers.put_for(spool, claim, record, "completed", spool.settings.current())
    bury(holder)

    class Nobody:
        worker = "w-1-0000"

        def inherit(self, names: list[str]) -> None:
            raise AssertionError(names)

    hook_recovery.take_over(spool, holder.name, Nobody())
    assert len(markers()) == 1


def test_a_marker_that_cannot_be_read_does_not_stop_the_others(
    queue: Queue, root: Path, spool: Spool, bury: Callable[[Holder], None],
    drain: Callable[..., Any], told: Any, markers: Any,
) -> None:  # fmt: skip
    holder = Holder(spool)
    hooks = Path(spool.layout.hooks(holder.name))
    hooks.mkdir()
    (hooks / "torn.1.01234567.hook").write_bytes(b"")
    bury(holder)
    queue.enqueue("true", id="a")
    drain(queue)
    assert told() == ["done a", "idle"]
    assert markers() == []


def test_a_stray_among_the_markers_is_found(queue: Queue, spool: Spool) -> None:
    with Holder(spool) as holder:
        hooks = Path(spool.layout.hooks(holder.name))
        hooks.mkdir(0o700)
        (hooks / "mine").touch()
        (hooks / "a.1.01234567.hook").touch(0o600)
        found = {f.path: f.damage for f in integrity.check(spool, repair=False)}
        assert found == {str(hooks / "mine"): "stray"}
        (hooks / "mine").unlink()
        (hooks / "a.1.01234567.hook").unlink()


def test_a_file_that_cannot_be_rejected_at_once_is_told_of_once(
    queue: Queue,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    drop: Callable[..., Path],
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    left = [3]

    def refuse(*args: Any, **options: Any) -> str | None:
        left[0] -= 1
        if left[0] > 0:
            raise OSError(28, "No space left on device")
        return reject(*args, **options)

    monkeypatch.setattr("queuectl.worker.intake.reject", refuse)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead broken"]
    assert markers() == []


def test_a_file_whose_reason_cannot_be_written_is_told_of_all_the_same(
    queue: Queue, spool: Spool, monkeypatch: pytest.MonkeyPatch, drop: Callable[..., Path],
    drain: Callable[..., Any], told: Any,
) -> None:  # fmt: skip
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("queuectl.spool.reject.write_reason", refuse)
    drop("broken.json", "{")
    drain(queue)
    assert told() == ["dead broken"]


def test_an_outcome_that_the_disk_refuses_at_first_is_told_of_once(
    queue: Queue,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    drain: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    settle, left = spool.claims.settle, [3]

    def refuse(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] > 0:
            raise OSError(28, "No space left on device")
        return settle(*args, **options)

    monkeypatch.setattr(spool.claims, "settle", refuse)
    queue.enqueue("true", id="a")
    drain(queue)
    assert told() == ["done a", "idle"]
    assert markers() == []


def test_a_claim_that_somebody_took_away_is_no_event(
    queue: Queue,
    root: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    told: Any,
    markers: Any,
) -> None:
    def take(worker: Worker) -> None:
        path = Path(eventually(lambda: (found := queue.get("a")).pid and found.path))
        path.rename(root / "dead" / "a.json")
        eventually(lambda: not worker._slots._shared.in_hand._running)
        worker.stop()

    queue.enqueue("sleep 0.5", id="a")
    work(queue, take)
    assert told() == []
    assert markers() == []

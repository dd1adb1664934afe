"""Settings that are broken keep no command from reading, stopping, cancelling or fixing them."""

from __future__ import annotations

import pytest
from helpers.commands import Eventually, Queuectl, Spool, StartWorker

BROKEN = {
    "wrong value": ("max_retries = -1", "line 2: max_retries must be a whole number from 0"),
    "unknown key": ("max_retrys = 1", "line 2: unknown setting 'max_retrys'; did you mean"),
    "not TOML": ("max_retries = = 1", "line 2, column 15: "),
}
each_break = pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN)


@pytest.fixture
def broken(queuectl: Queuectl, spool: Spool, text: str) -> None:
    for job_id in ("waits", "other", "dies"):
        queuectl("enqueue", "--id", job_id, "true")
    queuectl("cancel", "dies")
    (spool.root / "queue.toml").write_text(f"timeout = 5\n{text}\n")


@pytest.mark.parametrize("text", [text for text, _ in BROKEN.values()], ids=BROKEN)
@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "command",
    ["status", "list", "show waits", "dlq list", "worker list", "wait dies", "cancel waits",
     "dlq retry dies", "dlq purge", "enqueue true", "worker stop"],
)  # fmt: skip
def test_a_command_that_needs_no_settings_works(queuectl: Queuectl, command: str) -> None:
    done = queuectl(*command.split(), code=1 if command.startswith("wait") else 0)
    assert "queue.toml" not in done.err


@each_break
@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("command", ["worker start --drain", "check --repair"])
def test_what_decides_by_them_names_the_file_and_the_line(
    queuectl: Queuectl, spool: Spool, problem: str, command: str
) -> None:
    said = queuectl.error(*command.split())
    assert f"{spool.root}/queue.toml: {problem}" in said
    assert spool.is_in("pending", "waits", "other")


@each_break
@pytest.mark.usefixtures("broken")
def test_check_reports_them(queuectl: Queuectl, problem: str) -> None:
    (found,) = queuectl.json("check", code=1)
    assert found["damage"] == "settings"
    assert problem in found["problem"]


@each_break
@pytest.mark.usefixtures("broken")
def test_the_other_settings_can_be_read_and_set(
    queuectl: Queuectl, spool: Spool, text: str, problem: str
) -> None:
    if "= =" in text:
        assert problem in queuectl.error("config", "list")
        assert problem in queuectl.error("config", "set", "timeout", "7")
        return
    assert queuectl("config", "get", "timeout").out == "5\n"
    shown = queuectl("config", "list")
    assert problem in shown.err
    assert "timeout" in shown.out
    done = queuectl("config", "set", "timeout", "7")
    assert problem in done.err
    assert (spool.root / "queue.toml").read_text() == f"timeout = 7\n{text}\n"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("max_retries = -1", "set max_retries 4"),
        ("max_retries = -1", "unset max_retries"),
        ("max_retrys = 1", "unset max_retrys"),
        ("on.done = 1", "unset on"),
    ],
)
@pytest.mark.usefixtures("broken")
def test_the_wrong_one_can_be_fixed(queuectl: Queuectl, fix: str) -> None:
    done = queuectl("config", *fix.split())
    assert "warning" not in done.err
    queuectl("worker", "start", "--drain")


@pytest.mark.parametrize("text", ["max_retries = -1"])
@pytest.mark.usefixtures("broken")
def test_the_wrong_one_is_shown_as_it_is_written(queuectl: Queuectl) -> None:
    assert queuectl.json("config", "list")["max_retries"] == "-1"
    assert "line 2: max_retries must be" in queuectl.error("config", "get", "max_retries")


def test_a_running_worker_can_be_stopped(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    process = worker()
    (spool.root / "queue.toml").write_text("max_retries = = 1\n")
    queuectl("worker", "stop", "--wait")
    eventually(lambda: not process.runs)

"""The setting output_max: an attempt or a hook that prints too much is ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.process import waiting
from queuectl.spool.spool import Spool

ENDLESS = "while :; do echo 0123456789; done"


@pytest.fixture
def no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_open_pidfd", lambda _: None)


def test_an_attempt_that_prints_without_end_fails_with_that_reason(
    queue: Queue, root: Path, drain: Callable[..., Any]
) -> None:
    queue.set_setting("output_max", "20K")
    queue.enqueue(ENDLESS, id="a", max_retries=1)
    drain(queue, slots=1)
    found = queue.get("a")
    assert (found.state, [entry.outcome for entry in found.job.history]) == ("dead", ["failed"] * 2)
    for entry in found.job.history:
        assert entry.error == "output exceeded output_max (20480 bytes)"
        assert entry.signal == "SIGTERM"
        assert (root / str(entry.log)).stat().st_size > 20480


@pytest.mark.usefixtures("no_pidfd")
def test_the_same_without_a_pidfd(queue: Queue, drain: Callable[..., Any]) -> None:
    queue.set_setting("output_max", "20K")
    queue.enqueue(ENDLESS, id="a", max_retries=0)
    drain(queue, slots=1)
    assert "exceeded output_max" in str(queue.get("a").job.history[0].error)


def test_what_a_descendant_prints_counts_too(queue: Queue, drain: Callable[..., Any]) -> None:
    queue.set_setting("output_max", "20K")
    queue.enqueue(f"setsid sh -c '{ENDLESS}' & sleep 1000", id="a", max_retries=0)
    drain(queue, slots=1)
    assert "exceeded output_max" in str(queue.get("a").job.history[0].error)


def test_an_attempt_that_prints_as_much_as_is_allowed_is_not_ended(
    queue: Queue, root: Path, tmp_path: Path, work: Callable[..., Any],
    eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    looks: list[bool] = []
    is_exceeded = waiting.OutputLimit.is_exceeded

    def noted(limit: waiting.OutputLimit) -> bool:
        looks.append(is_exceeded(limit))
        return looks[-1]

    monkeypatch.setattr(waiting.OutputLimit, "is_exceeded", noted)
    queue.set_setting("output_max", "5")
    (root / "logs" / "a.1.log").write_text("what an earlier start has left\n")
    queue.enqueue(f"echo 1234; until test -e {tmp_path}/go; do sleep 0.02; done", id="a")

    def script(worker: Any) -> None:
        eventually(lambda: len(looks) >= 3)
        (tmp_path / "go").touch()
        queue.wait(["a"], timeout=20)
        worker.stop()

    work(queue, script, slots=1)
    assert queue.get("a").state == "completed"
    assert not any(looks)


def test_without_the_setting_nobody_looks(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: list[float] = []
    poll = waiting._poll

    def noted(descriptors: Any, longest: float) -> set[int]:
        seconds.append(longest)
        return poll(descriptors, longest)

    monkeypatch.setattr(waiting, "_poll", noted)
    queue.enqueue("true", id="a")
    drain(queue, slots=1)
    assert seconds == [waiting._LONGEST_POLL]


def test_a_size_that_cannot_be_looked_at_ends_nothing(spool: Spool) -> None:
    fd = os.open(spool.layout.staged(), os.O_RDWR | os.O_CREAT)
    limit = waiting.OutputLimit(fd, 3)
    os.write(fd, b"123")
    assert not limit.is_exceeded()
    os.write(fd, b"4")
    assert limit.is_exceeded()
    os.close(fd)
    assert not limit.is_exceeded()


def test_a_hook_that_prints_without_end_is_ended(
    queue: Queue, drain: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue.set_setting("output_max", "20K")
    queue.set_setting("on_done", ENDLESS)
    queue.enqueue("true", id="a")
    drain(queue, slots=1)
    assert "hook on_done of job a failed: output exceeded output_max (20480 bytes)" in caplog.text

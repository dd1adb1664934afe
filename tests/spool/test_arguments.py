"""What the Python API is given: more than one way where that is clear, or else advice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from queuectl import Job, Queue, clock
from queuectl.errors import InvalidJob, QueuectlError

WRONG: list[tuple[str, Callable[[Any], object], str]] = [
    ("a misspelt keyword", lambda q: q.enqueue("x", timout=5), "unexpected keyword"),
    ("a field in extra", lambda q: q.enqueue("x", extra={"timeout": 5}), "timeout is a field"),
    ("extra text", lambda q: q.enqueue("x", extra="note"), "extra must be a mapping"),
    ("a job as a command", lambda q: q.enqueue({"command": "y"}), "enqueue_many"),
    ("no command", lambda q: q.enqueue(None), "command must be a string or a sequence"),
    ("a number as a command", lambda q: q.enqueue(5), "command must be a string or a sequence"),
    ("bytes as a command", lambda q: q.enqueue(b"x"), "command must be a string or a sequence"),
    ("an argument that is no text", lambda q: q.enqueue(["a", 1]), "command must be"),
    ("a delay in words", lambda q: q.enqueue("x", delay="5m"), "a timedelta, not '5m'"),
    ("a timeout in words", lambda q: q.enqueue("x", timeout="5m"), "a timedelta, not '5m'"),
    ("a delay that is true", lambda q: q.enqueue("x", delay=True), "a timedelta, not true"),
    ("env in words", lambda q: q.enqueue("x", env="A=1"), "env must be a mapping of strings"),
    ("a number as an id", lambda q: q.enqueue("x", id=5), "5 is not a valid id"),
    ("a shell command in a batch", lambda q: q.enqueue_many(["echo a"]), "job 1 must be a mapping"),
    ("a mapping as a batch", lambda q: q.enqueue_many({"command": "x"}), "an iterable of mapping"),
    ("a number as a batch", lambda q: q.enqueue_many(5), "an iterable of mapping"),
    ("a mapping as a record", lambda q: q.submit({"command": "x"}), "job must be a Job"),
    ("mappings as records", lambda q: q.submit_many([{"command": "x"}]), "job 1 must be a Job"),
    ("an unknown state", lambda q: q.list("waiting"), "choose from pending, processing"),
    ("ids of no state", lambda q: q.ids("waiting"), "choose from pending, processing"),
    ("a purge of no state", lambda q: q.purge("waiting"), "choose from pending, processing"),
    ("an age in words", lambda q: q.purge("dead", older_than="7d"), "older_than must be a number"),
    ("a limit in words", lambda q: q.list(limit="5"), "limit must be a whole number"),
    ("a limit below 0", lambda q: q.list(limit=-1), "limit must be at least 0"),
    ("an id that is no text", lambda q: q.get(5), "id must be a string, not 5"),
    ("no id", lambda q: q.cancel(None), "id must be a string, not null"),
    ("ids that are no text", lambda q: q.wait([5]), "id must be a string, not 5"),
    ("a number of ids", lambda q: q.wait(5), "ids must be an id or a sequence of ids"),
    ("a time to wait in words", lambda q: q.wait([], timeout="5m"), "timeout must be a number"),
    ("an attempt in words", lambda q: q.log_path("a", "1"), "attempt must be a whole number"),
    ("output of no text", lambda q: q.read_log(5, 1), "id must be a string"),
    ("a setting that is no text", lambda q: q.setting(5), "key must be a string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("act", "advice"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
)
def test_a_wrong_argument_is_answered(
    queue: Queue, act: Callable[[Any], object], advice: str
) -> None:
    queue.enqueue("true", id="a")
    with pytest.raises((QueuectlError, TypeError)) as caught:
        act(queue)
    assert advice in str(caught.value)
    assert [status.id for status in queue.list()] == ["a"]


def test_times_may_be_timedeltas(queue: Queue) -> None:
    before = clock.now()
    job_id = queue.enqueue("true", delay=timedelta(hours=1), timeout=timedelta(minutes=1))
    job = queue.get(job_id).job
    assert job.timeout == 60
    assert clock.parse_timestamp(job.run_at) >= before + 3599
    assert queue.purge("dead", timedelta(days=1)) == 0


def test_one_id_may_be_waited_for(queue: Queue, drain: Callable[..., Any]) -> None:
    job_id = queue.enqueue("true")
    drain(queue)
    assert queue.wait(job_id, timeout=timedelta(seconds=40)) == {job_id: "completed"}


def test_a_state_may_be_called_by_its_directory(queue: Queue, drain: Callable[..., Any]) -> None:
    job_id = queue.enqueue("true")
    drain(queue)
    state: Any = "done"
    assert [status.id for status in queue.list(state)] == [job_id]


class TestAJobFromJson:
    @pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
    def test_is_submitted_as_it_is(self, queue: Queue, encode: Callable[[str], Any]) -> None:
        job = Job.from_json(encode('{"id": "a", "command": "true", "size": 1e400}'))
        assert queue.submit(job) == "a"
        assert bytes(queue.get("a").job.raw["size"]) == b"1e400"

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"command": 5}', '{"x": 1}'])
    def test_is_checked(self, text: str) -> None:
        with pytest.raises(InvalidJob):
            Job.from_json(text)

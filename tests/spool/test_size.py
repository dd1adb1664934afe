"""The limit on a job's size is for what is submitted: whatever is accepted once stays valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import InvalidJob
from queuectl.record.job import MAX_JOB_BYTES, build, decode
from queuectl.record.submission import read_jobs


def _job(command: str, size: int, **fields: Any) -> dict[str, Any]:
    """Return a job whose file, without white space, has that size."""
    job = {"command": command, "note": "", **fields}
    return {**job, "note": "x" * (size - len(_text(job)))}


def _text(job: dict[str, Any]) -> str:
    return json.dumps(job, separators=(",", ":"))


def _submit(queue: Queue, how: str, job: dict[str, Any]) -> str:
    match how:
        case "enqueue":
            return queue.submit(build(job))
        case "stdin":
            return queue.submit_many(read_jobs([_text(job).encode()]))[0]
        case "many":
            return queue.enqueue_many([job])[0]
    Path(queue.path, "pending", "dropped.json").write_text(_text(job))
    return "dropped"


@pytest.mark.parametrize("how", ["enqueue", "stdin", "many", "drop"])
def test_the_largest_job_is_run_retried_and_run_again(
    queue: Queue, drain: Callable[..., Any], how: str
) -> None:
    queue.set_setting("backoff_base", "0")
    job_id = _submit(queue, how, _job("false", MAX_JOB_BYTES, max_retries=1))
    drain(queue)
    assert (queue.get(job_id).problem, len(queue.get(job_id).job.history)) == (None, 2)
    queue.retry(job_id)
    drain(queue)
    assert (queue.get(job_id).problem, len(queue.get(job_id).job.history)) == (None, 4)


@pytest.mark.parametrize("how", ["enqueue", "stdin", "many", "drop"])
def test_the_largest_job_can_be_cancelled(
    queue: Queue, drain: Callable[..., Any], how: str
) -> None:
    job_id = _submit(queue, how, _job("true", MAX_JOB_BYTES))
    assert queue.cancel(job_id) == "dead"
    assert queue.get(job_id).problem is None
    queue.retry(job_id)
    drain(queue)
    assert queue.get(job_id).state == "completed"


@pytest.mark.parametrize("how", ["enqueue", "stdin", "many"])
def test_one_byte_more_is_refused_at_once(queue: Queue, how: str) -> None:
    with pytest.raises(InvalidJob, match="at most 1,048,576"):
        _submit(queue, how, _job("true", MAX_JOB_BYTES + 1))


def test_a_record_of_deep_nesting_does_not_grow_by_its_indentation() -> None:
    deep: Any = [1] * (MAX_JOB_BYTES // 3)
    for _ in range(90):
        deep = [deep]
    record = build({"command": "true", "x": deep}).evolve(id="a", attempts=1)
    data = record.encode()
    assert len(data) < 2 * MAX_JOB_BYTES
    assert json.loads(bytes(decode(data).raw["x"])) == deep

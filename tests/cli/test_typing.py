"""What a type checker says of a program that uses the API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RIGHT = """
from datetime import timedelta
from queuectl import Job, JobStatus, Queue

queue = Queue("/tmp/queue")
job_id: str = queue.enqueue("true", delay=timedelta(hours=1), extra={"note": 1})
queue.submit(Job.from_json('{"command": "true"}'))
found: list[JobStatus] = queue.list("dead", limit=3)
print(queue.wait(job_id)[job_id])
"""
WRONG = """
from queuectl import Queue, Quueue

queue = Queue("/tmp/queue")
queue.enqueue("x", timout=5)
queue.enqueue_many(["echo a"])
queue.list("waiting")
"""


def check(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    (directory / "program.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_is_checked_strictly(tmp_path: Path) -> None:
    done = check(tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout


def test_wrong_names_keywords_and_values_are_seen(tmp_path: Path) -> None:
    done = check(tmp_path, WRONG)
    for seen in ("Quueue", "timout", "waiting"):
        assert seen in done.stdout
    assert "Found 4 errors" in done.stdout

"""queuectl as a contender: its command in real processes, its spool filled and read as files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from measure import Unavailable, until

from queuectl import Queue

PYTHON = sys.executable
QUEUECTL = [PYTHON, str(Path(PYTHON).parent / "queuectl")]
NOOP = ["/bin/true"]
NOW = "2026-11-24T08:00:00.000000Z"
COMPLETED = json.dumps(
    {
        "command": NOOP,
        "created_at": NOW,
        "updated_at": NOW,
        "attempts": 1,
        "history": [
            {
                "attempt": 1,
                "outcome": "ok",
                "exit_code": 0,
                "worker": "host-1-abcd",
                "host": "host",
                "started_at": NOW,
                "finished_at": NOW,
                "log": "logs/job.1.log",
            }
        ],
    },
    indent=2,
).encode()
"""A record as it stands in done/."""
PATIENCE = 300.0  # seconds until a drain is given up


def environment() -> dict[str, str]:
    """The environment of every contender: with byte code kept, as it is where it is installed."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONDONT", "QUEUECTL"))}


def side(
    python: str, name: str, operation: str, root: Path, jobs: int, slots: int = 1
) -> dict[str, Any]:
    """Run one contender's work in a process of its own and return what it reports."""
    script = str(Path(__file__).with_name("side.py"))
    command = [python, script, name, operation, str(root), str(jobs), str(slots)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not over within {PATIENCE:g} s") from None
    if done.returncode != 0:
        raise Unavailable(f"failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def filled(root: Path, jobs: int, *, fsync: bool = True) -> Queue:
    """Make a spool with so many no-op jobs."""
    queue = Queue(root)
    if not fsync:
        queue.set_setting("fsync", "false")
    queue.enqueue_many({"command": NOOP} for _ in range(jobs))
    return queue


def strew(directory: Path, jobs: int, content: Callable[[int], bytes], mark: str = "j") -> None:
    """Put files into a state's directory as any program could: the quick way to have a million."""
    for number in range(jobs):
        fd = os.open(f"{directory}/{mark}{number:07}.json", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, content(number))
        os.close(fd)


def names(directory: Path, mark: str) -> Iterator[str]:
    """The names that begin so, as they are read: a large directory is never held."""
    with os.scandir(directory) as entries:
        yield from (entry.name for entry in entries if entry.name.startswith(mark))


def start(root: Path, slots: int, *options: str) -> subprocess.Popen[bytes]:
    """Start a worker on a spool."""
    command = [*QUEUECTL, "--spool", str(root), "worker", "start", "--quiet"]
    return subprocess.Popen(
        [*command, "--count", str(slots), *options],
        env=environment(),
        stdout=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def working(root: Path, slots: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that takes jobs as they come, asked to leave at the end."""
    worker = start(root, slots)
    try:
        until(lambda: any(root.glob("workers/*.json")), 30)
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


def drain(root: Path, slots: int, processes: int = 1) -> float:
    """Let workers empty a spool; return the jobs per second while all of them worked."""
    before = {entry.name for entry in os.scandir(root / "done")}
    workers = [start(root, slots, "--drain") for _ in range(processes)]
    try:
        for worker in workers:
            if worker.wait(PATIENCE) != 0:
                raise Unavailable(f"the worker ended with {worker.returncode}")
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not drained within {PATIENCE:g} s") from None
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return rate(ended(root, before), processes)


@dataclass(frozen=True)
class Ended:
    """A job that was run: by whom, and from when to when (seconds since 1970)."""

    name: str
    worker: str
    start: float
    settled: float


def ended(root: Path, without: set[str]) -> list[Ended]:
    """Read the completed jobs but for some, in the order in which they were settled."""
    found = []
    for entry in os.scandir(root / "done"):
        if entry.name not in without and entry.name.endswith(".json"):
            last = json.loads(Path(entry.path).read_bytes())["history"][-1]
            start = datetime.fromisoformat(last["started_at"]).timestamp()
            # A rename sets the ctime: that is when the job came to done/.
            found.append(Ended(entry.name, last["worker"], start, entry.stat().st_ctime))
    return sorted(found, key=lambda job: job.settled)


def rate(jobs: list[Ended], processes: int = 1) -> float:
    """Jobs per second from when the last of the workers had started its first job."""
    firsts: dict[str, float] = {}
    for job in jobs:
        firsts[job.worker] = min(job.start, firsts.get(job.worker, job.start))
    if len(firsts) < processes:
        raise Unavailable(f"only {len(firsts)} of {processes} workers got a job")
    begin, end = max(firsts.values()), jobs[-1].settled
    counted = sum(1 for job in jobs if job.settled > begin)
    return counted / (end - begin)

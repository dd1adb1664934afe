"""Figures 1 to 3: what it costs to enqueue."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import peers
from bench import Bench
from measure import FLOOR, Measure, Row, interleave, rows
from ours import NOOP, PYTHON, QUEUECTL, environment

from queuectl import Queue


def enqueue(bench: Bench) -> list[Row]:
    """1. One durable job at a time through the API, against a bare durable write of a file."""
    names = [FLOOR, "queuectl", *bench.peers.names()]
    contenders: dict[str, Measure] = {
        name: peers.contender(bench.peers, name, "enqueue", bench.sizes.enqueue) for name in names
    }
    measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
    return rows("1 enqueue, one at a time", bench.disk.name, "jobs/s", measured)


def bulk(bench: Bench) -> list[Row]:
    """2. Many JSON lines through `queuectl enqueue -`, against the same loop."""
    jobs = bench.sizes.bulk
    lines = (json.dumps({"command": NOOP}) + "\n").encode() * jobs

    def queuectl(root: Path) -> float:
        Queue(root)
        command = [*QUEUECTL, "--spool", str(root), "enqueue", "-"]
        seconds = _timed(lambda: _quietly(command, lines))
        return jobs / seconds

    contenders: dict[str, Measure] = {
        FLOOR: peers.contender(bench.peers, FLOOR, "bulk", jobs),
        "queuectl enqueue -": queuectl,
        "SQLite table, one transaction": peers.contender(bench.peers, "SQLite table", "bulk", jobs),
    }
    measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
    return rows(f"2 enqueue {jobs:,} JSON lines", bench.disk.name, "jobs/s", measured)


def process(bench: Bench) -> list[Row]:
    """3. `queuectl enqueue` as one process, against Python that imports typer and ends."""
    runs = bench.sizes.processes

    def command(*words: str) -> Measure:
        return lambda _: _timed(lambda: _quietly([*words]), runs)

    def queuectl(root: Path) -> float:
        Queue(root)
        return _timed(
            lambda: _quietly([*QUEUECTL, "--spool", str(root), "enqueue", "--", *NOOP]), runs
        )

    def spooler(name: str) -> Measure:
        def measure(root: Path) -> float:
            queue = peers.Spooler(name, root)
            seconds = _timed(lambda: queue.enqueue(*NOOP), runs)
            queue.wait()
            queue.close()
            return seconds

        return measure

    contenders: dict[str, Measure] = {
        "python -c 'import typer'": command(PYTHON, "-c", "import typer"),
        "python -c pass": command(PYTHON, "-c", "pass"),
        "queuectl enqueue": queuectl,
        "nq": spooler("nq"),
        "tsp": spooler("tsp"),
    }
    measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
    floor = "python -c 'import typer'"
    title = "3 enqueue as one process"
    return rows(title, bench.disk.name, "s", measured, floor=floor)


def _timed(work: Callable[[], object], runs: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        work()
    return (time.perf_counter() - start) / runs


def _quietly(command: list[str], data: bytes = b"") -> None:
    subprocess.run(command, input=data, stdout=subprocess.DEVNULL, env=environment(), check=True)

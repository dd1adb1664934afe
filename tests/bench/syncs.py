"""Who makes a job durable: fsyncs for one more job, counted by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import peers
from bench import Bench
from measure import FLOOR, Row, Unavailable
from ours import NOOP, QUEUECTL, environment, filled

CALLS = "fsync,fdatasync,sync,syncfs,sync_file_range,msync"
FEW, MANY = 10, 30


def syncs(bench: Bench) -> list[Row]:
    """0. fsyncs a job, to enqueue it and to run it."""
    if shutil.which("strace") is None:
        note = "skipped: not installed (apt-get install strace)"
        return [Row("0 fsyncs a job", "all", bench.disk.name, "", note=note)]
    counters: dict[str, dict[str, Callable[[int], int]]] = {
        "enqueue": {
            name: _contender(bench, name, "enqueue")
            for name in (FLOOR, "queuectl", *bench.peers.names())
        },
        "enqueue and run": {name: _contender(bench, name, "drain") for name in bench.peers.names()},
    }
    counters["run"] = {"queuectl": lambda jobs: _worker(bench.fresh(), jobs)}
    for name in ("nq", "tsp"):
        counters["enqueue and run"][name] = _spooler(bench, name)
    return [
        _row(bench, operation, name, count)
        for operation, each in counters.items()
        for name, count in each.items()
    ]


def _row(bench: Bench, operation: str, name: str, count: Callable[[int], int]) -> Row:
    row = Row("0 fsyncs a job", f"{name}: {operation}", bench.disk.name, "calls")
    try:
        row.values = [(count(MANY) - count(FEW)) / (MANY - FEW)]
    except Unavailable as reason:
        row.note = f"skipped: {reason}"
    return row


def _contender(bench: Bench, name: str, operation: str) -> Callable[[int], int]:
    script = str(Path(__file__).with_name("side.py"))

    def count(jobs: int) -> int:
        python = bench.peers.interpreter(name)
        return _counted([python, script, name, operation, str(bench.fresh()), str(jobs), "1"])

    return count


def _worker(root: Path, jobs: int) -> int:
    filled(root, jobs)
    return _counted([*QUEUECTL, "--spool", str(root), "worker", "start", "--drain", "--quiet"])


def _spooler(bench: Bench, name: str) -> Callable[[int], int]:
    """Trace the shell that enqueues, and what of it stays behind."""

    def count(jobs: int) -> int:
        path, root = peers.tool(name), bench.fresh()
        root.mkdir(parents=True)
        lines = [f"{path} {NOOP[0]} >/dev/null"] * jobs
        lines += ["nq -w"] if name == "nq" else [f"{path} -w", f"{path} -K"]
        settings = f"cd {root}; export NQDIR=. TS_SOCKET={root}/socket TMPDIR={root}; "
        return _counted(["sh", "-c", settings + "; ".join(lines)])

    return count


def _counted(command: list[str]) -> int:
    trace = ["strace", "-f", "-qq", "-e", "signal=none", "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*trace, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        raise Unavailable(f"cannot be traced: {done.stderr.strip()[-80:]}")
    return len(
        re.findall(rf"^(?:\[pid +\d+\] )?(?:{CALLS.replace(',', '|')})\(", done.stderr, re.M)
    )

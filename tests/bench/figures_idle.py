"""Figures 7 to 9: what waiting costs, and what looking costs."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import Bench
from measure import Measure, Row, cpu_seconds, interleave, memory, rows, ticks, wakeups
from ours import COMPLETED, NOOP, PYTHON, QUEUECTL, environment, filled, strew, working

SETTLED = 0.05
"""Seconds of processor time in one second: who uses less has read what there was to read."""
NEVER = "2099-01-01T00:00:00Z"


def scheduled(bench: Bench) -> list[Row]:
    """7. A worker with many jobs for later and none for now."""
    jobs = bench.sizes.scheduled
    root = bench.fresh()
    filled(root, 0)
    content = json.dumps({"command": NOOP, "run_at": NEVER}).encode()
    strew(root / "pending", jobs, lambda _: content)
    return _idle_rows(f"7 {jobs:,} jobs scheduled for later", bench, root)


def idle(bench: Bench) -> list[Row]:
    """8. A worker on an empty spool."""
    root = bench.fresh()
    filled(root, 0)
    return _idle_rows("8 an empty spool", bench, root)


@dataclass(frozen=True)
class Watch:
    """A process at rest, at the beginning of the time over which it is watched."""

    pid: int
    cpu: float
    wakeups: int

    @classmethod
    def of(cls, pid: int) -> Watch:
        return cls(pid, cpu_seconds(pid), wakeups(pid))


def _idle_rows(title: str, bench: Bench, root: Path) -> list[Row]:
    sleeper = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(3600)"])
    try:
        with working(root, 2) as worker:
            _come_to_rest(worker.pid)
            watches = {
                "python that sleeps": Watch.of(sleeper.pid),
                "queuectl": Watch.of(worker.pid),
            }
            time.sleep(bench.sizes.idle)  # what is measured is what happens meanwhile: nothing
            found = []
            for name, watch in watches.items():
                found += _used(title, bench, name, watch)
    finally:
        sleeper.kill()
        sleeper.wait()
    return found


def _come_to_rest(pid: int) -> None:
    """Wait until it has read what there is, and has used nearly nothing for a second."""
    before = -1.0
    for _ in ticks(600, 1.0):
        now = cpu_seconds(pid)
        if before > 0 and now - before < SETTLED:
            return
        before = now


def _used(title: str, bench: Bench, name: str, watch: Watch) -> list[Row]:
    seconds, disk = bench.sizes.idle, bench.disk.name
    share = (cpu_seconds(watch.pid) - watch.cpu) / seconds * 100
    woken = (wakeups(watch.pid) - watch.wakeups) / seconds
    return [
        Row(title, f"{name}, processor", disk, "%", [share], note=f"over {seconds:g} s"),
        Row(title, f"{name}, memory", disk, "MiB", [memory(watch.pid)]),
        Row(title, f"{name}, wake-ups", disk, "/s", [woken]),
    ]


def listing(bench: Bench) -> list[Row]:
    """9. `status` and `list --limit 20` with many jobs done and as many pending."""
    jobs = bench.sizes.listing
    root = bench.fresh()
    filled(root, 0)
    strew(root / "done", jobs, lambda _: COMPLETED)
    content = json.dumps({"command": NOOP}).encode()
    strew(root / "pending", jobs, lambda _: content, mark="p")
    floor = "typer, and two os.listdir"
    names = [str(root / "done"), str(root / "pending")]
    code = f"import os, typer; [os.listdir(name) for name in {names!r}]"
    contenders: dict[str, Measure] = {
        floor: _seconds([PYTHON, "-c", code]),
        "queuectl status": _seconds([*QUEUECTL, "--spool", str(root), "status"]),
        "queuectl list --limit 20": _seconds(
            [*QUEUECTL, "--spool", str(root), "list", "--limit", "20"]
        ),
    }
    measured = interleave(contenders, max(bench.sizes.rounds, 3), bench.fresh)
    title = f"9 {jobs:,} done, {jobs:,} pending"
    return rows(title, bench.disk.name, "s", measured, floor=floor)


def _seconds(command: list[str]) -> Measure:
    def measure(_: Path) -> float:
        start = time.perf_counter()
        nowhere = subprocess.DEVNULL
        subprocess.run(command, stdout=nowhere, stderr=nowhere, env=environment(), check=True)
        return time.perf_counter() - start

    return measure

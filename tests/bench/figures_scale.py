"""Figures 6 and 11: what a large backlog costs, and what a large history."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import Bench
from measure import FLOOR, Measure, Row, interleave, memory, rows, ticks, until
from ours import (
    COMPLETED,
    NOOP,
    PATIENCE,
    QUEUECTL,
    Ended,
    drain,
    ended,
    environment,
    filled,
    names,
    rate,
    side,
    start,
    strew,
    working,
)

from queuectl import Queue

SLOTS = 2
STRIDE = 7_368_787
"""A prime: ranks go through the files in an order that no directory has."""
FIRST_OF_ALL = 100
"""When so many of the most urgent are gone, the scan has come past nearly all files."""


OLD = "old-"
"""How the names of the jobs begin that were done before."""


@dataclass
class Backlog:
    """What was seen of a worker that met a backlog."""

    first: float = 0.0  # seconds from the worker's start to its first command
    scan: float = 0.0  # seconds until it took the most urgent of all
    while_scanning: float = 0.0  # jobs/s
    after: float = 0.0
    peak: float = 0.0  # MiB
    order: str = ""
    floor: float = 0.0
    jobs: list[Ended] = field(default_factory=list)


def backlog(bench: Bench) -> list[Row]:
    """6. A worker meets a backlog of dropped files, each of its own priority."""
    disk, found, base = bench.disk.name, [], 0.0
    for jobs in bench.sizes.backlog:
        seen = _meet(bench, jobs)
        base = base or seen.after
        title = f"6 backlog of {jobs:,} files"
        few = f"of the rate with {bench.sizes.backlog[0]:,}"
        spawn = Row(title, FLOOR, disk, "jobs/s", [seen.floor], [seen.floor])
        found += [
            spawn,
            Row(title, "queuectl", disk, "jobs/s", [seen.after], [seen.floor],
                f"{seen.after / base:.2f} {few}; {seen.order}"),
            Row(title, "queuectl, while it scans", disk, "jobs/s",
                [seen.while_scanning] if seen.while_scanning else [],
                note="" if seen.while_scanning else "the scan was over before the first job"),
            Row(title, "queuectl, start to first command", disk, "s", [seen.first]),
            Row(title, "queuectl, start to most urgent taken", disk, "s", [seen.scan]),
            Row(title, "queuectl, peak memory", disk, "MiB", [seen.peak]),
        ]  # fmt: skip
    return found


def _meet(bench: Bench, jobs: int) -> Backlog:
    root = bench.fresh()
    filled(root, 0)
    urgent = [number for number in range(jobs) if _rank(number, jobs) < FIRST_OF_ALL]
    strew(
        root / "pending",
        jobs,
        lambda n: json.dumps({"command": NOOP, "priority": jobs - _rank(n, jobs)}).encode(),
    )
    seen = Backlog()
    begin = time.time()
    worker = start(root, SLOTS)
    try:
        waiting = [root / "pending" / f"j{number:07}.json" for number in urgent]
        until(lambda: any((root / "done").iterdir()), PATIENCE)
        until(lambda: not any(path.exists() for path in waiting), PATIENCE, pause=0.05)
        scanned = time.time()
        _watch(root, bench.sizes.window)
        seen.peak = memory(worker.pid, "VmHWM")
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    seen.jobs = ended(root, set())
    seen.first = min(job.start for job in seen.jobs) - begin
    seen.scan = scanned - begin
    _rates(seen, scanned, jobs)
    seen.order = _order(seen.jobs, jobs)
    spawned = side(QUEUECTL[0], FLOOR, "drain", bench.fresh(), 400, SLOTS)
    seen.floor = spawned["jobs"] / spawned["seconds"]
    return seen


def _rank(number: int, jobs: int) -> int:
    return number * STRIDE % jobs


def _watch(root: Path, seconds: float) -> None:
    """Let it work for a while, or until nothing is left."""
    for _ in ticks(seconds, pause=0.25):
        if not any(names(root / "pending", "j")):
            return


def _rates(seen: Backlog, scanned: float, jobs: int) -> None:
    early = [job for job in seen.jobs if job.settled <= scanned]
    late = [job for job in seen.jobs if job.settled > scanned]
    if len(early) > FIRST_OF_ALL * 2:
        seen.while_scanning = rate(early)
    seen.after = rate(late if len(late) > FIRST_OF_ALL else seen.jobs)


def _order(jobs: list[Ended], total: int) -> str:
    """Tell from which job on each was the most urgent of those still waiting.

    Slots start at nearly the same time, so neighbours may have changed places.
    """
    by_start = sorted(jobs, key=lambda job: job.start)
    ranks = [_rank(int(job.name[1:8]), total) for job in by_start]
    least, place = total, len(ranks)
    slack = SLOTS * 2
    for place in range(len(ranks) - 1, -1, -1):
        if ranks[place] > least + slack:
            place += 1
            break
        least = min(least, ranks[place])
    taken, last = set(ranks), max(ranks[place:], default=0)
    skipped = sum(1 for rank in range(last) if rank not in taken)
    if skipped > slack:
        return f"order wrong: {skipped} more urgent ones were left"
    return f"in order after the first {place:,} of {len(ranks):,}"


def done(bench: Bench) -> list[Row]:
    """11. The settle rate beside many jobs in done/, alone and while they are removed."""
    disk, jobs = bench.disk.name, bench.sizes.settle
    roots = {number: _with_history(bench, number) for number in bench.sizes.done}
    few, many = bench.sizes.done
    made = time.time()

    def settle(number: int) -> Measure:
        def measure(_: Path) -> float:
            filled(roots[number], jobs)
            return drain(roots[number], SLOTS)

        return measure

    floor = f"{few:,} in done/"
    contenders: dict[str, Measure] = {floor: settle(few), f"{many:,} in done/": settle(many)}
    measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
    found = rows("11 jobs in done/", disk, "jobs/s", measured, floor=floor)
    alone = found[-1].median or 0.0
    old = roots[many]
    removals: list[tuple[str, Removal, Measure]] = [
        ("retention", _retention, lambda root: _settled_beside(root, jobs)),
        ("a purge", _purge, settle(many)),
    ]
    for name, removal, work in removals:
        worked, removed = _during(removal, old, time.time() - made, work, jobs)
        found += [
            Row("11 jobs in done/", f"{many:,} in done/, while {name} removes them", disk, "jobs/s",
                [worked], [alone], "of its rate alone"),
            Row("11 jobs in done/", f"{name} meanwhile", disk, "removed/s", [removed]),
        ]  # fmt: skip
    return found


def _with_history(bench: Bench, number: int) -> Path:
    root = bench.fresh()
    filled(root, 0)
    strew(root / "done", number, lambda _: COMPLETED, mark=OLD)
    return root


Removal = Callable[[Path, float], contextlib.AbstractContextManager[None]]


def _during(
    removal: Removal, root: Path, age: float, work: Measure, jobs: int
) -> tuple[float, float]:
    """The rate of a drain while what is older is removed, and that of the removal meanwhile."""
    with removal(root, age):
        before = _count_old(root)
        worked = work(root)
    left = _count_old(root)
    return worked, (before - left) / (jobs / worked)


@contextlib.contextmanager
def _retention(root: Path, age: float) -> Iterator[None]:
    """A worker removes what is older, and has begun to."""
    before = _count_old(root)
    Queue(root).set_setting("keep_done", f"{age:.3f}s")
    with working(root, SLOTS):
        until(lambda: _count_old(root) < before, PATIENCE, pause=0.5)
        yield
    Queue(root).unset_setting("keep_done")


def _settled_beside(root: Path, jobs: int) -> float:
    """The rate at which the worker that is there settles some more jobs."""
    before = {entry.name for entry in os.scandir(root / "done")}
    filled(root, jobs)
    until(lambda: not any(root.glob("p*ing/**/*.json")), PATIENCE, pause=0.05)
    return rate(ended(root, before))


def _count_old(root: Path) -> int:
    return sum(1 for _ in names(root / "done", OLD))


@contextlib.contextmanager
def _purge(root: Path, age: float) -> Iterator[None]:
    options = ["--state", "completed", "--older-than", f"{age:.3f}s"]
    purge = subprocess.Popen(
        [*QUEUECTL, "--spool", str(root), "purge", *options],
        stdout=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield
    finally:
        purge.terminate()
        purge.wait()

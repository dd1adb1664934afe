"""Figures 4 and 10: how fast jobs are run, by slots and by workers."""

from __future__ import annotations

from pathlib import Path

import peers
from bench import Bench
from measure import FLOOR, Measure, Row, interleave, rows
from ours import drain as drain_spool
from ours import filled


def drain(bench: Bench) -> list[Row]:
    """4. No-op jobs, against as many threads that only start the command and wait for it."""
    found: list[Row] = []
    for slots in bench.sizes.slots:
        jobs = bench.sizes.drain * min(slots, 4)
        contenders: dict[str, Measure] = {
            FLOOR: peers.contender(bench.peers, FLOOR, "drain", jobs, slots),
            "queuectl": _ours(jobs, slots),
            "queuectl, fsync = false": _ours(jobs, slots, fsync=False),
        }
        for name in ("the files alone", "the files, committed", *bench.peers.names()):
            contenders[name] = peers.contender(bench.peers, name, "drain", jobs, slots)
        for name in ("nq", "tsp"):
            contenders[name] = peers.spooler_drain(name, jobs, slots)
        measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
        title = f"4 drain, {slots} slot{'s' * (slots > 1)}"
        found += rows(title, bench.disk.name, "jobs/s", measured)
    return found


def workers(bench: Bench) -> list[Row]:
    """10. Several workers of one slot on one spool, against one worker with as many slots."""
    found: list[Row] = []
    jobs = bench.sizes.shared
    for processes in bench.sizes.workers:
        one = f"1 worker, {processes} slots"
        contenders: dict[str, Measure] = {
            one: _ours(jobs, processes),
            f"{processes} workers, 1 slot each": _ours(jobs, 1, processes=processes),
        }
        measured = interleave(contenders, bench.sizes.rounds, bench.fresh)
        title = f"10 {processes} workers on one spool"
        found += rows(title, bench.disk.name, "jobs/s", measured, floor=one)
    return found


def _ours(jobs: int, slots: int, *, processes: int = 1, fsync: bool = True) -> Measure:
    def measure(root: Path) -> float:
        filled(root, jobs, fsync=fsync)
        return drain_spool(root, slots, processes)

    return measure

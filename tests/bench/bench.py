"""What every figure is given: where to measure, how much of it, against whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from disks import Disk
from measure import Fresh
from peers import Peers


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int  # of everything that is interleaved
    enqueue: int  # jobs a round
    bulk: int  # JSON lines a round
    processes: int  # processes a round, where one process is one job
    slots: tuple[int, ...]
    drain: int  # jobs a round and slot, up to 4 slots' worth
    start: int  # drops
    backlog: tuple[int, ...]  # waiting files; the first is what the others are compared with
    window: float  # seconds over which the drain of a backlog is watched
    scheduled: int  # jobs scheduled for later
    idle: float  # seconds over which an idle worker is watched
    listing: int  # jobs in done/, and as many in pending/
    workers: tuple[int, ...]  # at once on one spool
    shared: int  # jobs a round for them
    done: tuple[int, int]  # files in done/: few, many
    settle: int  # jobs a round beside them


TINY = Sizes(
    rounds=1,
    enqueue=10,
    bulk=50,
    processes=1,
    slots=(2,),
    drain=5,
    start=5,
    backlog=(20, 60),
    window=0.3,
    scheduled=20,
    idle=0.3,
    listing=50,
    workers=(2,),
    shared=60,
    done=(10, 100),
    settle=20,
)
QUICK = Sizes(
    rounds=3,
    enqueue=200,
    bulk=10_000,
    processes=5,
    slots=(1, 2, 8),
    drain=150,
    start=200,
    backlog=(1000, 20_000),
    window=5,
    scheduled=20_000,
    idle=10,
    listing=20_000,
    workers=(2, 4, 8),
    shared=800,
    done=(1000, 20_000),
    settle=400,
)
FULL = Sizes(
    rounds=3,
    enqueue=500,
    bulk=10_000,
    processes=10,
    slots=(1, 2, 8),
    drain=250,
    start=500,
    backlog=(1000, 100_000, 1_000_000),
    window=15,
    scheduled=100_000,
    idle=20,
    listing=100_000,
    workers=(2, 4, 8),
    shared=1500,
    done=(1000, 1_000_000),
    settle=800,
)


@dataclass(frozen=True)
class Bench:
    """One run on one disk."""

    disk: Disk
    sizes: Sizes
    peers: Peers
    fresh: Fresh
    probe: Path | None  # the C program that tells when it was started
    probe_reason: str

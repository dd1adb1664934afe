"""A real worker with its threads, whose calls fail one by one: before, while and after jobs run."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.harness.broken_worker import WorkerBench

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(3600),
]
PARTS = 8
"""So that several processes share the work."""


@pytest.fixture(scope="module")
def bench() -> Iterator[WorkerBench]:
    """Record once what a worker does."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        yield WorkerBench(Path(directory))


@pytest.mark.parametrize("part", range(PARTS))
def test_a_worker_whose_call_fails_loses_nothing_and_runs_nothing_twice(
    part: int, bench: WorkerBench, figures: Callable[..., None]
) -> None:
    found = [
        each
        for each in bench.points()
        if zlib.crc32(f"{each.call.name} {each.call.nth} {each.fault}".encode()) % PARTS == part
    ]

    points, violations, _ = bench.sweep(found)

    figures("an error from a call of a worker", points=points, violations=len(violations))
    assert points > 0
    assert violations == []

"""A storm over a spool, judged by two detectors that know nothing of each other."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from faults.harness.storm import Storm
from faults.harness.storm_verdict import Line, Record, judge

SEED = int(os.environ.get("QUEUECTL_STORM_SEED") or random.SystemRandom().randrange(1 << 32))
DONE = {"completed"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
@pytest.mark.timeout(400)
def test_in_a_storm_nothing_is_lost_nothing_overlaps_and_nothing_is_repeated(
    tmp_path: Path, figures: Callable[..., None]
) -> None:
    print(f"storm seed {SEED}: again with QUEUECTL_STORM_SEED={SEED}")

    report = Storm(tmp_path, seed=SEED, jobs=2000, workers=3, slots=4, seconds=32).run()

    figures("storm", **report.figures)
    assert report.violations == [], f"seed {SEED}"
    assert report.figures["workers killed"] > 20
    assert report.figures["lost entries"] > 0, "no worker was killed while a job of its ran"


def _begin(attempt: int, run: str = "w1") -> Line:
    return Line("begin", "a", attempt, f"{run}.a.{attempt}")


def _end(attempt: int, run: str = "w1") -> Line:
    return Line("end", "a", attempt, f"{run}.a.{attempt}")


WELL = ([_begin(1), _end(1)], [Record("completed", {1: "ok"})])
LOST_THEN_OK = (
    [_begin(1), _begin(2), _end(2)],
    [Record("completed", {1: "lost", 2: "ok"})],
)
FORGED: dict[str, tuple[str, list[Line], list[Record]]] = {
    "a job that stands nowhere": ("loss", [], []),
    "a job that stands twice": ("loss", WELL[0], WELL[1] * 2),
    "a job that is still running at the end": ("loss", [_begin(1)], [Record("processing", {})]),
    "a job that is completed and wrote no end": ("loss", [_begin(1)], WELL[1]),
    "a job that is completed and never ran": ("loss", [], [Record("completed", {})]),
    "a job that ended while its next run ran": (
        "overlap", [_begin(1), _begin(2), _end(1), _end(2)], LOST_THEN_OK[1],
    ),
    "a job that found its lock taken": (
        "overlap", [_begin(1), Line("overlap", "a", 2, "w2.a.2"), _begin(2), _end(2)],
        LOST_THEN_OK[1],
    ),
    "a job that ran again after it was ok": (
        "repeat", [_begin(1), _end(1), _begin(2), _end(2)],
        [Record("completed", {1: "ok", 2: "ok"})],
    ),
    "an attempt that was started twice": ("repeat", [_begin(1), _begin(1), _end(1)], WELL[1]),
    "an attempt that is not in the history": (
        "repeat", [_begin(1), _begin(2), _end(2)], WELL[1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_the_detectors_find(what: str) -> None:
    kind, lines, records = FORGED[what]

    verdict = judge({"a": DONE}, lines, {"a": records} if records else {})

    assert getattr(verdict, kind) != [], verdict


@pytest.mark.parametrize(("lines", "records"), [WELL, LOST_THEN_OK], ids=["once", "lost and again"])
def test_the_detectors_are_silent_when_all_is_well(
    lines: Sequence[Line], records: Sequence[Record]
) -> None:
    assert judge({"a": DONE}, lines, {"a": records}).all == []

"""A storm over a spool, judged by two detectors that know nothing of each other."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from faults.harness.storm import Storm
from faults.harness.storm_by_hand import BY_HAND
from faults.harness.storm_verdict import Line, Record, judge
from helpers.unprivileged import Unprivileged

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


SMALL: dict[str, Any] = {"workers": 3, "slots": 4, "seconds": 5}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="the commands change their user: it takes root")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv(1) is not installed")
@pytest.mark.timeout(300)
def test_nothing_overlaps_though_commands_leave_what_is_hard_to_find_and_to_end(
    tmp_path: Path, figures: Callable[..., None]
) -> None:
    print(f"storm seed {SEED}: again with QUEUECTL_STORM_SEED={SEED}")

    report = Storm(tmp_path, seed=SEED, jobs=120, leavers=True, **SMALL).run()

    figures("storm of commands that leave processes", **report.figures)
    assert report.violations == [], f"seed {SEED}"
    assert report.figures["attempts"] > report.figures["jobs"], "no command left anything"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_overlaps_whatever_is_done_by_hand(
    tmp_path: Path, figures: Callable[..., None]
) -> None:
    print(f"storm seed {SEED}: again with QUEUECTL_STORM_SEED={SEED}")

    report = Storm(tmp_path, seed=SEED, jobs=300, by_hand=True, **SMALL).run()

    figures("storm with mv, ln, touch, check and purge", **report.figures)
    assert report.violations == [], f"seed {SEED}"
    assert sum(report.figures.get(what, 0) for what in BY_HAND) > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
@pytest.mark.timeout(300)
def test_a_storm_of_a_user_without_privileges_and_with_few_descriptors(
    nobody: Unprivileged, figures: Callable[..., None]
) -> None:
    print(f"storm seed {SEED}: again with QUEUECTL_STORM_SEED={SEED}")
    options = {"--seed": SEED, "--jobs": 200, "--workers": 3, "--slots": 3, "--seconds": 5}

    done = nobody.harness(
        "faults.harness.storm",
        *(str(word) for option in options.items() for word in option),
        prefix=("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"),
    )

    assert done.returncode == 0, f"seed {SEED}: {done.stdout} {done.stderr}"
    counted = re.findall(r"^ *(\d+) (\S.*)$", done.stdout, re.MULTILINE)
    figures("storm without privileges", **{what: int(number) for number, what in counted})
    assert ("0", "violations") in counted


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

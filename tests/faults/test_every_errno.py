"""Each operation, with every error that each of its system calls may answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.harness import errnos
from faults.harness.operations import HOOK_OPERATIONS, OPERATIONS, Operation
from faults.harness.sweep import Bench

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(3000),
]

REJECTED_AT_ONCE = ("look and reject", "EACCES")
"""This operation waits for no quiet period, after which a file that may not be read is rejected."""


@pytest.mark.parametrize("operation", [*OPERATIONS, *HOOK_OPERATIONS], ids=lambda each: each.name)
def test_nothing_is_lost_whatever_a_call_answers(
    operation: Operation, memory: Path, figures: Callable[..., None]
) -> None:
    bench = Bench(operation, memory)
    every = errnos.points(bench.calls())
    every = [each for each in every if (operation.name, each.fault) != REJECTED_AT_ONCE]
    # An error that a server gives: it is tried at every sixth call that reads, whatever the call.
    timeouts = [each for each in every if each.fault == "ETIMEDOUT" and not each.call.changes]
    found = dict.fromkeys([*errnos.some(every, operation.name), *timeouts[::6]])

    points, violations, _ = bench.sweep_points([*found])

    figures("an error from a system call", points=points, violations=len(violations))
    assert points > 0
    assert violations == []

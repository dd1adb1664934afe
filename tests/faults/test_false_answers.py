"""Each operation, with calls that were carried out and answer an error all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.harness import false_answers
from faults.harness.errnos import Point
from faults.harness.operations import OPERATIONS, Operation
from faults.harness.sweep import Bench

pytestmark = pytest.mark.timeout(600)
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)


@each_operation
@pytest.mark.usefixtures("no_exclusive_rename")
def test_an_operation_succeeds_though_a_call_is_sent_again(
    operation: Operation, memory: Path, figures: Callable[..., None]
) -> None:
    """On a network file system, which has no exclusive rename."""
    bench = Bench(operation, memory)
    calls = bench.calls(by=false_answers.record)
    again = false_answers.SENT_AGAIN
    found = [Point(call, again[call.name]) for call in calls if call.name in again]

    points, violations, _ = bench.sweep_points(found, by=false_answers.run_with, must_succeed=True)

    figures("a call sent again", points=points, violations=len(violations))
    assert points > 0
    assert violations == []


@each_operation
@pytest.mark.parametrize("rename", ["renameat2", "link and unlink"])
def test_nothing_is_lost_when_a_call_that_was_carried_out_answers_an_error(
    operation: Operation, rename: str, memory: Path, figures: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if rename != "renameat2":
        request.getfixturevalue("no_exclusive_rename")
    bench = Bench(operation, memory)
    found = [
        Point(call, error)
        for call in bench.calls(by=false_answers.record)
        for error in false_answers.GIVEN_UP[call.name]
    ]

    points, violations, _ = bench.sweep_points(found, by=false_answers.run_with)

    figures("an error from a call that was carried out", points=points, violations=len(violations))
    assert points > 0
    assert violations == []

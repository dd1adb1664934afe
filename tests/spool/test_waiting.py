"""Waiting for the end of a command, or for a reason to end it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from queuectl.process import spawn
from queuectl.process.spawn import Child
from queuectl.process.waiting import StopSwitch, wait


@pytest.fixture
def switch() -> Iterator[StopSwitch]:
    switch = StopSwitch()
    yield switch
    switch.close()


@pytest.fixture
def endless() -> Iterator[Child]:
    with open(os.devnull, "wb") as output:
        child = spawn.start(["/bin/sleep", "1000"], os.environb, None, output=output.fileno())
    yield child
    os.kill(child.pid, 9)
    child.reap()


def test_a_wait_ends_with_the_timeout(endless: Child, switch: StopSwitch) -> None:
    assert wait(endless, 0.05, switch) == "timeout"


def test_a_wait_ends_with_the_first_reason_and_the_next_begins_without(
    endless: Child, switch: StopSwitch
) -> None:
    switch.stop("cancelled")
    switch.stop("interrupted")
    assert wait(endless, 20, switch) == "cancelled"
    switch.reset()
    assert wait(endless, 0.05, switch) == "timeout"

"""What the slots of a worker have in hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuectl.process.waiting import StopSwitch
from queuectl.record import job
from queuectl.spool.places import Claim, ClaimedPlace
from queuectl.worker.in_hand import InHand

CLAIM = Claim("w", "a", 1, job.build({"command": "true"}), "pending", "/s/processing/w/a.1.json")
MINE = ClaimedPlace("processing", "a", CLAIM.path, "w", 1)
STRAY = ClaimedPlace("processing", "b", "/s/processing/w/b.1.json", "w", 1)


@pytest.fixture
def switch() -> Iterator[StopSwitch]:
    switch = StopSwitch()
    yield switch
    switch.close()


def test_a_claim_that_a_slot_has_is_no_stray(switch: StopSwitch) -> None:
    hand = InHand()
    hand.start(1, CLAIM, switch)
    assert hand.strays(lambda: [MINE, STRAY]) == [STRAY]
    hand.end(1)
    assert hand.strays(lambda: [MINE, STRAY]) == [MINE, STRAY]


def test_nothing_is_a_stray_while_a_slot_claims() -> None:
    hand = InHand()
    with hand.claiming():
        assert hand.strays(lambda: [STRAY]) == []


def test_only_the_jobs_that_are_meant_are_stopped(switch: StopSwitch) -> None:
    hand = InHand()
    hand.start(1, CLAIM, switch)
    hand.stop("cancelled", lambda claim: claim.id == "b")
    assert switch.reason is None
    hand.stop("cancelled")
    assert switch.reason == "cancelled"

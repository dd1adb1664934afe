"""A request to cancel is for the job that was running when it was made, and for no later one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.errors import WrongState
from queuectl.record.job import Attempt
from queuectl.spool import by_hand, cancels
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim, ClaimedPlace, Place, Ready
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool


@pytest.fixture
def holder(queue: Queue) -> Iterator[Holder]:
    holder = Holder(queue.spool)
    yield holder
    with contextlib.suppress(OSError):  # the test has let it leave
        holder.leave()


@pytest.fixture
def take(queue: Queue, holder: Holder) -> Callable[[], Claim]:
    """Enqueue the job "a" and claim it."""

    def enqueue_and_take() -> Claim:
        queue.enqueue("true", id="a")
        seen = queue.spool.reader.look("pending", "a.json")
        assert isinstance(seen, Ready)
        claim = queue.spool.claims.take(holder.name, "pending", "a.json", seen)
        assert claim is not None
        return claim

    return enqueue_and_take


def _place(claim: Claim) -> ClaimedPlace:
    return ClaimedPlace("processing", claim.id, claim.path, claim.worker, claim.attempt)


def _settle(queue: Queue, claim: Claim) -> None:
    record = claim.job.with_attempt(Attempt(attempt=1, outcome="ok"), attempts=1)
    queue.spool.claims.settle(claim, record, "completed")


@pytest.mark.parametrize("links", [True, False])
def test_a_request_is_seen_for_the_claimed_job(
    queue: Queue, take: Callable[[], Claim], monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not links:  # as on vfat
        monkeypatch.setattr("os.link", refuse)
    claim = take()
    assert not cancels.is_requested(queue.spool.layout, claim)
    assert cancels.request(queue.spool, _place(claim))
    assert cancels.is_requested(queue.spool.layout, claim)
    assert cancels.request(queue.spool, _place(claim)), "a second request is none the worse"
    assert not [*Path(queue.path, "tmp").iterdir()]


def test_an_empty_request_made_by_hand_is_for_the_job_that_is_there(
    queue: Queue, take: Callable[[], Claim]
) -> None:
    claim = take()
    Path(claim.path).with_suffix(".cancel").touch()
    assert cancels.is_requested(queue.spool.layout, claim)


def test_a_late_request_is_not_for_the_next_job_of_the_id(
    queue: Queue, take: Callable[[], Claim]
) -> None:
    first = take()
    cancels.request(queue.spool, _place(first))
    _settle(queue, first)
    queue.purge("completed")
    second = take()
    assert second.path == first.path
    assert Path(second.path).with_suffix(".cancel").exists()
    assert not cancels.is_requested(queue.spool.layout, second)
    assert cancels.request(queue.spool, _place(second))
    assert cancels.is_requested(queue.spool.layout, second)


def test_recovery_does_not_take_a_late_request_for_one_of_its_job(
    queue: Queue, take: Callable[[], Claim], holder: Holder
) -> None:
    first = take()
    cancels.request(queue.spool, _place(first))
    _settle(queue, first)
    queue.purge("completed")
    take()
    holder.leave()
    assert recover(queue.spool, grace=0, draw=0) == ["a"]
    found = queue.get("a").job
    assert found is not None
    assert found.history[-1].outcome == "lost"


def test_a_cancel_that_comes_as_the_job_ends_says_that_it_has_ended(
    queue: Queue, take: Callable[[], Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, look = take(), by_hand.finished_attempts

    def ends_after_the_look(spool: Spool, place: Place) -> int:
        answer = look(spool, place)
        if Path(claim.path).exists():
            _settle(queue, claim)
        return answer

    monkeypatch.setattr(by_hand, "finished_attempts", ends_after_the_look)
    with pytest.raises(WrongState, match="completed already"):
        queue.cancel("a")

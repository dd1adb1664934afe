"""What a person does to one job: cancel it, or run it again.

A waiting job is claimed for a moment, rewritten and moved on, as a worker would do it; so a worker
and a command never have the same job.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from queuectl import clock
from queuectl.disk.durable import discard
from queuectl.errors import InvalidJob, WrongState
from queuectl.record import retry as retries
from queuectl.record.job import Attempt, Job, State
from queuectl.spool import cancels
from queuectl.spool.holder import Holder
from queuectl.spool.places import FINISHED, Claim, ClaimedPlace, Place
from queuectl.spool.spool import Spool

_MOST_LOOKS = 50
_SECONDS_BETWEEN_LOOKS = 0.02


def cancel(spool: Spool, place: Place) -> State:
    """Cancel a job: a waiting one is dead at once, the worker of a running one is asked to end it.

    `place` is where the job was just seen. Returns "dead", or "processing" if a worker has been
    asked. Raises NoSuchJob, and WrongState if the job has already ended.
    """
    for look in range(_MOST_LOOKS):
        if look:
            place = spool.reader.find_exactly(place.id)
        if place.state in FINISHED:
            raise WrongState(f"job {place.id} is {place.state} already")
        if not isinstance(place, ClaimedPlace):
            if _change(spool, place, _cancelled):
                return "dead"
        elif place.attempt > finished_attempts(spool, place):
            if cancels.request(spool, place):
                return "processing"
        else:  # a command holds it, or it is being moved on: that takes milliseconds
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    raise WrongState(f"job {place.id!r} keeps moving: try again")


def retry(spool: Spool, place: Place) -> str:
    """Move a dead or failed job to `pending/` with `attempts` 0; return its id.

    Raises WrongState, and InvalidJob if its file is still not a valid job.
    """
    if place.state not in ("dead", "failed"):
        raise WrongState(f"job {place.id} is {place.state}, not dead")
    try:
        kept = _change(spool, place, _retried)
    except InvalidJob as error:
        raise InvalidJob(f"{place.id} is still not a valid job: {error}") from None
    if not kept:
        raise WrongState(f"job {place.id} has just moved: look again")
    discard(spool.layout.reason(place.id))
    return kept


def finished_attempts(spool: Spool, place: Place) -> int:
    """Return the number of attempts in a job's history; 0 if it cannot be read."""
    try:
        return len(spool.reader.read(place.path)[0].history)
    except (InvalidJob, OSError):
        return 0


def _change(
    spool: Spool, place: Place, change: Callable[[Spool, Claim], tuple[Job, State]]
) -> str | None:
    """Claim a job, rewrite it and move it on; return its id, None if it was gone first."""
    with Holder(spool) as holder:
        claim = spool.claims.hold(holder.name, place)
        if claim is None:
            return None
        moved = spool.claims.settle(claim, *change(spool, claim))
        spool.disk.commit(*moved.owed)
        return moved.id


def _cancelled(spool: Spool, claim: Claim) -> tuple[Job, State]:
    now = clock.now()
    entry = Attempt(
        attempt=claim.job.next_attempt,
        outcome="cancelled",
        worker=claim.worker,
        error="cancelled before it was started",
        finished_at=clock.format_timestamp(now),
    )
    policy = spool.settings.last_good.retry_policy  # any: nobody retries what is cancelled
    return retries.next_record(claim.job, entry, policy, now=now, draw=0.0)


def _retried(_: Spool, claim: Claim) -> tuple[Job, State]:
    now = clock.format_timestamp(clock.now())
    # In failed/ run_at is the time of the next retry. A dead job that has one was cancelled before
    # its time: it is scheduled again.
    run_at = None if claim.origin == "failed" else claim.job.run_at
    return claim.job.evolve(attempts=0, run_at=run_at, updated_at=now), "pending"

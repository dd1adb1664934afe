"""What follows an attempt: a pure function from its outcome to the job's next place.

No I/O, no clock, no randomness of its own: the caller hands in the draw that spreads the
delay, so every decision can be listed in a table and tested by it.
"""

from __future__ import annotations

from msgspec import Struct

from queuectl.clock import format_timestamp
from queuectl.record.job import Attempt, Job, Outcome, State


class RetryPolicy(Struct, frozen=True):
    """The settings that decide over retries; delays in seconds, jitter from 0 to 1."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float


class Done(Struct, frozen=True):
    """The job has succeeded."""


class Dead(Struct, frozen=True):
    """The job is given up on."""


class Requeue(Struct, frozen=True):
    """The attempt does not count; the job goes back to where it waited."""


class RetryAfter(Struct, frozen=True):
    """The job is run again after so many seconds."""

    seconds: float


Decision = Done | Dead | Requeue | RetryAfter


def counts(outcome: Outcome) -> bool:
    """Whether an attempt with this outcome uses up one of the job's runs."""
    return outcome not in ("interrupted", "cancelled")


def backoff(policy: RetryPolicy, attempts: int, draw: float) -> float:
    """Return the seconds to wait after the n-th failed attempt: `backoff_base ** n`, capped.

    `draw`, in [0, 1), shortens the delay by up to `backoff_jitter` of it, so the cap holds
    and jobs that failed together do not all come back together ("equal jitter": M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    try:
        delay = float(policy.backoff_base) ** attempts
    except OverflowError:
        delay = policy.backoff_max
    return min(delay, policy.backoff_max) * (1 - policy.backoff_jitter * draw)


def decide(
    outcome: Outcome,
    attempts: int,
    max_retries: int | None,
    policy: RetryPolicy,
    draw: float = 0.0,
) -> Decision:
    """Decide what follows an attempt.

    `attempts` is the count after this attempt; `max_retries` the job's own limit, or None
    for the policy's. So `max_retries` 3 means at most 4 runs.
    """
    if outcome == "ok":
        return Done()
    if outcome == "interrupted":
        return Requeue()
    limit = policy.max_retries if max_retries is None else max_retries
    if outcome == "cancelled" or attempts > limit:
        return Dead()
    return RetryAfter(backoff(policy, attempts, draw))


def place_of(decision: Decision) -> State:
    """Return the state that a decision leads to."""
    match decision:
        case Done():
            return "completed"
        case Dead():
            return "dead"
        case Requeue():
            return "pending"
        case RetryAfter():
            return "failed"


def next_record(
    job: Job, entry: Attempt, policy: RetryPolicy, *, now: float, draw: float
) -> tuple[Job, State]:
    """Enter an attempt that is over: return the job's new record and the state it goes to.

    `now` is the wall-clock time in seconds from which the wait for a retry counts.
    """
    attempts = job.attempts + counts(entry.outcome)
    decision = decide(entry.outcome, attempts, job.max_retries, policy, draw)
    changes: dict[str, object] = {"attempts": attempts, "updated_at": format_timestamp(now)}
    if isinstance(decision, RetryAfter):
        changes["run_at"] = format_timestamp(now + decision.seconds)
    elif job.attempts:  # the time that stands there is that of a retry, which is over
        changes["run_at"] = None
    return job.with_attempt(entry, **changes), place_of(decision)


def resume(job: Job, attempt: int, policy: RetryPolicy) -> State:
    """Return the state that a claimed job goes to of which nothing runs.

    `attempt` is the number that it was claimed under: that of an attempt whose outcome is
    written, but not acted on; or 0, for a job from `pending/` that was to be changed.
    """
    last = job.last_attempt
    if last is None or (attempt == 0 and last.outcome != "cancelled"):
        return "pending"
    return place_of(decide(last.outcome, job.attempts, job.max_retries, policy))

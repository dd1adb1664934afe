"""What follows an attempt: pure functions from its outcome to the job's next state.

No I/O, no clock, no random numbers: the caller passes the time and the random number. So every
decision can be listed in a table and tested by it.
"""

from __future__ import annotations

from msgspec import Struct

from queuectl.clock import format_timestamp
from queuectl.record.job import Attempt, Job, Outcome, State


class RetryPolicy(Struct, frozen=True):
    """The settings that decide about retries; delays in seconds, jitter from 0 to 1."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float


class Done(Struct, frozen=True):
    """The job has completed."""


class Dead(Struct, frozen=True):
    """The job is dead: it is not tried again."""


class Requeue(Struct, frozen=True):
    """The attempt does not count; the job goes back to `pending/`."""


class RetryAfter(Struct, frozen=True):
    """The job is run again after a number of seconds."""

    seconds: float


Decision = Done | Dead | Requeue | RetryAfter


def counts(outcome: Outcome) -> bool:
    """Whether an attempt with this outcome uses up one of the job's runs."""
    return outcome not in ("interrupted", "cancelled")


def backoff(policy: RetryPolicy, attempts: int, draw: float) -> float:
    """Return the seconds to wait after the n-th failed attempt: `backoff_base ** n`, capped.

    `draw` is a random number in [0, 1). It shortens the delay by up to the fraction
    `backoff_jitter`: the cap holds, and jobs that failed together do not all come back together
    ("equal jitter": M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
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

    `attempts` is the count after this attempt. `max_retries` is the job's own limit, or None
    for the policy's; 3 means at most 4 runs.
    """
    if outcome == "ok":
        return Done()
    if outcome == "interrupted":
        return Requeue()
    limit = policy.max_retries if max_retries is None else max_retries
    if outcome == "cancelled" or attempts > limit:
        return Dead()
    return RetryAfter(backoff(policy, attempts, draw))


def state_after(decision: Decision) -> State:
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
    """Return a job's record after an attempt has ended, and the state that the job goes to.

    `entry` is the attempt's history entry. The wait for a retry begins at `now`, in seconds since
    the epoch. `draw` is a random number in [0, 1).
    """
    attempts = job.attempts + counts(entry.outcome)
    decision = decide(entry.outcome, attempts, job.max_retries, policy, draw)
    changes: dict[str, object] = {"attempts": attempts, "updated_at": format_timestamp(now)}
    if isinstance(decision, RetryAfter):
        changes["run_at"] = format_timestamp(now + decision.seconds)
    elif job.attempts:  # run_at was the time of this retry
        changes["run_at"] = None
    return job.with_attempt(entry, **changes), state_after(decision)


def resume(job: Job, attempt: int, holder: str, policy: RetryPolicy) -> State:
    """Return the state that a claimed job of which nothing runs goes to.

    `attempt` is the number that `holder` claimed it under: of the attempt that the holder was to
    run, or, of a job that it was to change, 0 for a job from `pending/` and else the number of an
    attempt that was over. An earlier outcome says nothing about a job that was to run once more:
    somebody may have put it back by hand.
    """
    last = job.last_attempt
    if len(job.history) < attempt:  # it was not started
        return "failed" if job.attempts else "pending"
    if last is None or (attempt == 0 and last.worker != holder):  # it was not changed
        return "pending"
    return state_after(decide(last.outcome, job.attempts, job.max_retries, policy))

"""What follows an attempt, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.clock import parse_timestamp
from queuectl.record import job, retry
from queuectl.record.job import Attempt, Job, Outcome, State
from queuectl.record.retry import Dead, Decision, Done, Requeue, RetryAfter, RetryPolicy

POLICY = RetryPolicy(max_retries=3, backoff_base=2, backoff_max=86400, backoff_jitter=0)
NOW = 1_800_000_000.0


def _job(text: str = '{"command": "true"}') -> Job:
    return job.decode(text.encode())


@pytest.mark.parametrize(
    ("outcome", "attempts", "own_limit", "decision"),
    [
        ("ok", 1, None, Done()),
        ("ok", 9, 0, Done()),
        ("failed", 1, None, RetryAfter(2)),
        ("failed", 2, None, RetryAfter(4)),
        ("failed", 3, None, RetryAfter(8)),
        ("failed", 4, None, Dead()),
        ("timeout", 3, None, RetryAfter(8)),
        ("timeout", 4, None, Dead()),
        ("lost", 3, None, RetryAfter(8)),
        ("lost", 4, None, Dead()),
        ("failed", 1, 0, Dead()),
        ("failed", 4, 4, RetryAfter(16)),
        ("failed", 5, 4, Dead()),
        ("cancelled", 0, None, Dead()),
        ("cancelled", 0, 99, Dead()),
        ("interrupted", 0, None, Requeue()),
        ("interrupted", 9, 0, Requeue()),
    ],
)
def test_an_attempt_is_followed_by(
    outcome: Outcome, attempts: int, own_limit: int | None, decision: Decision
) -> None:
    assert retry.decide(outcome, attempts, own_limit, POLICY) == decision


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_job_that_always_fails_runs_once_more_than_it_is_retried(limit: int) -> None:
    record, runs, state = _job(f'{{"command": "false", "max_retries": {limit}}}'), 0, "pending"
    while state != "dead":
        entry = Attempt(attempt=record.next_attempt, outcome="failed")
        record, state = retry.next_record(record, entry, POLICY, now=NOW, draw=0)
        runs += 1
    assert runs == limit + 1


@pytest.mark.parametrize(
    ("base", "attempts", "delay"),
    [
        (2, 1, 2),
        (2, 2, 4),
        (2, 3, 8),
        (2, 16, 65536),
        (2, 17, 86400),
        (2, 10**6, 86400),
        (1000, 10**6, 86400),
        (1, 10**6, 1),
        (0.5, 1, 0.5),
        (0.5, 10**6, 0),
        (0, 1, 0),
        (3, 2, 9),
    ],
)
def test_the_wait_grows_to_the_cap(base: float, attempts: int, delay: float) -> None:
    assert retry.backoff(RetryPolicy(3, base, 86400, 0), attempts, 0.0) == delay


@given(
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 10**6),
    st.floats(0, 1000),
)
def test_jitter_only_ever_shortens_the_wait_and_by_no_more_than_its_part(
    jitter: float, draw: float, attempts: int, base: float
) -> None:
    plain = retry.backoff(RetryPolicy(3, base, 86400, 0), attempts, draw)
    spread = retry.backoff(RetryPolicy(3, base, 86400, jitter), attempts, draw)
    assert plain * (1 - jitter) <= spread <= plain


@pytest.mark.parametrize(
    ("outcome", "attempts", "state"),
    [
        ("ok", 1, "completed"),
        ("failed", 1, "failed"),
        ("timeout", 1, "failed"),
        ("lost", 1, "failed"),
        ("interrupted", 0, "pending"),
        ("cancelled", 0, "dead"),
    ],
)
def test_an_attempt_that_is_over_is_entered(outcome: Outcome, attempts: int, state: State) -> None:
    entry = Attempt(attempt=1, outcome=outcome)
    record, target = retry.next_record(_job(), entry, POLICY, now=NOW, draw=0)
    assert (record.history, record.attempts, target) == ([entry], attempts, state)


def test_a_retry_waits_from_now() -> None:
    entry = Attempt(attempt=1, outcome="failed")
    record, _ = retry.next_record(_job(), entry, POLICY, now=NOW, draw=0)
    assert parse_timestamp(record.run_at or "") == NOW + 2


@pytest.mark.parametrize(
    ("outcome", "attempts", "state"),
    [("ok", 1, "completed"), ("failed", 3, "dead"), ("cancelled", 1, "dead"),
     ("interrupted", 1, "pending")],
)  # fmt: skip
def test_the_time_of_a_retry_does_not_outlive_the_retry(
    outcome: Outcome, attempts: int, state: State
) -> None:
    before = _job(
        f'{{"command": "true", "attempts": {attempts}, "run_at": "2026-11-24T08:00:00Z"}}'
    )
    record, target = retry.next_record(
        before, Attempt(attempt=1, outcome=outcome), POLICY, now=NOW, draw=0
    )
    assert (target, record.run_at, "run_at" in record.raw) == (state, None, False)


@pytest.mark.parametrize("outcome", ["ok", "cancelled", "interrupted"])
def test_the_time_that_a_submitter_gave_is_kept(outcome: Outcome) -> None:
    before = _job('{"command": "true", "run_at": "2026-11-24T08:00:00Z"}')
    entry = Attempt(attempt=1, outcome=outcome)
    record, _ = retry.next_record(before, entry, POLICY, now=NOW, draw=0)
    assert record.run_at == "2026-11-24T08:00:00Z"


@pytest.mark.parametrize("outcome", retry.Outcome.__args__)  # type: ignore[attr-defined] # a Literal
@pytest.mark.parametrize("attempts", [0, 3, 9])
def test_recovery_resumes_to_where_the_outcome_led(outcome: Outcome, attempts: int) -> None:
    before = _job(f'{{"command": "true", "attempts": {attempts}}}')
    entry = Attempt(attempt=1, outcome=outcome, worker="w")
    record, target = retry.next_record(before, entry, POLICY, now=NOW, draw=0)
    assert retry.resume(record, 1, "w", POLICY) == target


def test_a_job_that_was_never_run_goes_back_to_pending() -> None:
    assert retry.resume(_job(), 0, "w", POLICY) == "pending"


@pytest.mark.parametrize("outcome", retry.Outcome.__args__)  # type: ignore[attr-defined] # a Literal
@pytest.mark.parametrize("attempts", [0, 1])
def test_a_claim_that_was_not_started_waits_again_whatever_the_outcome_before(
    outcome: Outcome, attempts: int
) -> None:
    """It may have been put back by hand, or by `dlq retry`."""
    entry = Attempt(attempt=1, outcome=outcome, worker="w")
    job = _job().with_attempt(entry, attempts=attempts)
    assert retry.resume(job, 2, "w", POLICY) == ("failed" if attempts else "pending")


@pytest.mark.parametrize(("holder", "target"), [("w", "dead"), ("v", "pending")])
def test_a_pending_job_is_cancelled_only_by_the_holder_that_wrote_so(
    holder: str, target: str
) -> None:
    """A job that was cancelled and then retried by hand has the outcome of an earlier cancel."""
    entry = Attempt(attempt=1, outcome="cancelled", worker="w")
    assert retry.resume(_job().with_attempt(entry), 0, holder, POLICY) == target

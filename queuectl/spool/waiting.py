"""Waiting until jobs have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from queuectl import clock
from queuectl.errors import NoSuchJob, TimedOut
from queuectl.record.job import State
from queuectl.spool.places import FINISHED
from queuectl.spool.spool import Spool
from queuectl.spool.watch import Watch

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the directories are looked at if no event ends the wait."""


def wait_for_end(
    spool: Spool,
    ids: Sequence[str],
    *,
    timeout: float | None,
    progress: Callable[[int], None] | None,
) -> dict[str, State]:
    """Wait until every job, by its exact id, is completed or dead; return the states by id.

    `timeout` is in seconds. `progress(n)` is called with the number of jobs that have ended.
    Raises TimedOut, and NoSuchJob if a job is removed meanwhile.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    ended: dict[str, State] = {}
    watch = Watch([spool.layout.states[state] for state in FINISHED])
    try:
        watch.arm()
        while True:
            for job_id in ids:
                if job_id not in ended:
                    state = _state(spool, job_id)
                    if state in FINISHED:
                        ended[job_id] = state
            if progress is not None:
                progress(len(ended))
            left = [job_id for job_id in ids if job_id not in ended]
            if not left:
                return ended
            patience = SECONDS_BETWEEN_LOOKS
            if deadline is not None:
                patience = min(patience, deadline - clock.monotonic())
                if patience <= 0:
                    raise TimedOut(f"after {timeout:g} s, still not ended: {', '.join(left)}")
            watch.wait(patience)
    finally:
        watch.close()


def _state(spool: Spool, job_id: str) -> State:
    try:
        return spool.reader.find_exactly(job_id).state
    except NoSuchJob:
        if spool.reader.dropped_as(job_id):  # its claim gives the file the name of its id
            return "pending"
        return spool.reader.find_exactly(job_id).state

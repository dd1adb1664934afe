"""Removing jobs for good, with their logs and reasons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from queuectl.disk.durable import discard, discard_tree
from queuectl.errors import InvalidJob
from queuectl.record.job import State
from queuectl.spool.places import Place
from queuectl.spool.spool import Spool


def purge(spool: Spool, places: Iterable[Place]) -> int:
    """Remove jobs, with their logs and reasons; return how many were removed.

    The rename into `tmp/` decides: a job that somebody retried first is left alone. The caller
    commits the directory.
    """
    count = 0
    for place in places:
        removed = spool.layout.staged()
        try:
            spool.disk.take(place.path, removed)
        except FileNotFoundError:
            continue
        _remove_logs(spool, place.id, removed)
        discard(spool.layout.reason(place.id))
        discard_tree(removed)
        count += 1
    return count


def purge_older(spool: Spool, state: State, seconds: float) -> Iterator[int]:
    """Remove the jobs that entered a state more than `seconds` ago, step by step.

    Yields the number of jobs that each step has removed. The removal is durable at the end, also
    if the iterator is closed before.
    """
    try:
        for place in spool.reader.older(state, seconds):
            yield purge(spool, [place])
    finally:
        spool.disk.commit(spool.layout.states[state])


def _remove_logs(spool: Spool, job_id: str, path: str) -> None:
    with contextlib.suppress(InvalidJob, OSError):
        for entry in spool.reader.read(path)[0].history:
            discard(spool.layout.log(job_id, entry.attempt))

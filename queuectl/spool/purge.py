"""Removing jobs for good, with their logs and reasons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from queuectl.disk.durable import discard, discard_tree
from queuectl.disk.locks import locked
from queuectl.errors import InvalidInput
from queuectl.record.job import State
from queuectl.spool.places import Place
from queuectl.spool.reject import explain
from queuectl.spool.spool import Spool


def purge(spool: Spool, places: Iterable[Place]) -> int:
    """Remove jobs, with their logs and reasons; return how many were removed.

    The rename of the job into `tmp/` decides: a job that somebody retried first is left alone, and
    gets its logs back. They are moved away before it: after it, a new job may have the id, and logs
    of the same names. The lock keeps out others who purge, and would free the id meanwhile.
    The caller commits the directory. Raises QueuectlError, OSError.
    """
    count = 0
    with locked(spool.layout.id_lock, spool.disk.file_mode):
        for place in places:
            removed = spool.layout.staged()
            beside = _move_away(spool, _beside(spool, place))
            try:
                spool.disk.take(place.path, removed)
            except FileNotFoundError:
                for path, staged in beside:
                    spool.disk.take(staged, path)
                continue
            for _, staged in beside:
                discard(staged)
            discard_tree(removed)
            count += 1
    return count


def purge_old(spool: Spool, place: Place) -> int:
    """Remove a job that is said to be old; return how many were removed.

    A rejected file whose reason is missing is not old: it has the time that its writer gave it. It
    gets its reason, and with that the time of now. Raises as `purge` does.
    """
    if place.state == "dead" and explain(spool, place):
        return 0
    return purge(spool, [place])


def purge_older(spool: Spool, state: State, seconds: float) -> Iterator[int]:
    """Remove the jobs that entered a state more than `seconds` ago, step by step.

    Yields the number of jobs that each step has removed. The removal is durable at the end, also
    if the iterator is closed before.
    """
    try:
        for place in spool.reader.older(state, seconds):
            yield purge_old(spool, place) if seconds else purge(spool, [place])
    finally:
        spool.disk.commit(spool.layout.states[state])


def _beside(spool: Spool, place: Place) -> Iterator[str]:
    """Name the files of a job apart from its own: its reason and its logs, if they exist."""
    with contextlib.suppress(InvalidInput, OSError):
        yield spool.layout.reason(place.id)
        for entry in spool.reader.read(place.path)[0].history:
            yield spool.layout.log(place.id, entry.attempt)


def _move_away(spool: Spool, paths: Iterable[str]) -> list[tuple[str, str]]:
    """Move files into `tmp/`; return their old and new paths."""
    moved = []
    for path in paths:
        staged = spool.layout.staged()
        with contextlib.suppress(FileNotFoundError):
            spool.disk.take(path, staged)
            moved.append((path, staged))
    return moved

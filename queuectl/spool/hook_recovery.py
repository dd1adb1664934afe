"""What becomes of the hook markers of dead workers.

Recovery gives the markers of a dead worker to the worker that recovers it. If the worker died
before the outcome was written, the event never took place: then the marker is removed when the job
is recovered.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

import msgspec

from queuectl.disk.durable import discard
from queuectl.disk.reading import exists
from queuectl.record.hook_event import Event, event_of
from queuectl.record.job import Job, State
from queuectl.spool import hook_markers, layout
from queuectl.spool.places import Claim, ClaimedPlace
from queuectl.spool.spool import Spool

log = logging.getLogger(__name__)


class Heir(Protocol):
    """A worker that takes over the hook markers of dead workers and runs their hooks."""

    worker: str

    def inherit(self, names: list[str]) -> None:
        """A dead holder was recovered, and these of its markers are now this worker's."""


def withdraw(spool: Spool, place: ClaimedPlace, job: Job | None, but: Event | None = None) -> bool:
    """Remove the markers of a claim whose outcome was not written: the event never took place.

    Keeps markers of the event `but`, and returns whether there is one. The removal is on disk
    before the job moves: otherwise a power cut could bring back the marker of a false event.
    """
    kept = False
    for name in hook_markers.names(spool, place.worker):
        if layout.parse_hook(name) != (place.id, place.attempt):
            continue
        with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
            marker = hook_markers.read(spool, place.worker, name)
            if marker.created_at != (job and job.created_at) and marker.source is None:
                continue  # it tells of another job with the same id
            if marker.event == but:
                kept = True
                continue
        spool.disk.remove(spool.layout.hook(place.worker, name))
    return kept


def ensure(spool: Spool, claim: Claim, target: State) -> None:
    """Ensure that a dead worker's job has its marker before it moves to `target`.

    The job's outcome is already written. A job that a dead command such as `dlq retry` held goes
    back to where it was: that is not an event.
    """
    entry = claim.job.last_attempt
    event = event_of(target, entry)
    place = ClaimedPlace("processing", claim.id, claim.path, claim.worker, claim.attempt)
    ours = entry is not None and (entry.worker, entry.attempt) == (claim.worker, claim.attempt)
    if not withdraw(spool, place, claim.job, but=event) and ours:
        hook_markers.put_for(spool, claim, claim.job, target, spool.settings.last_good)


def take_over(spool: Spool, dead: str, heir: Heir) -> None:
    """Give the markers of a dead worker to the heir.

    Markers that cannot be read now stay, and so do those of claims that could not be moved on yet.
    The heir gets copies, which are on disk before the old markers are removed: where a rename
    between two directories is two changes, a power cut could lose both names. Raises NotDurable,
    OSError; then all markers stay.
    """
    claimed = {(place.id, place.attempt) for place in spool.reader.claims(dead)}
    new_names: list[str] = []
    finished: list[str] = []

    def copies() -> Iterator[tuple[str, bytes]]:
        for name in hook_markers.names(spool, dead):
            parts = layout.parse_hook(name)
            if parts is None or parts in claimed:
                continue
            try:
                took_place = not _never_took_place(spool, dead, name)
                data = hook_markers.read_bytes(spool, dead, name)
            except OSError as error:
                log.error("hook %s of dead worker %s cannot be read: %s", name, dead, error)
                continue
            finished.append(name)
            if took_place:
                new_names.append(layout.new_hook(*parts))
                yield spool.layout.staged(), data

    staged = spool.disk.write_many(copies())
    try:
        if new_names:
            spool.disk.make_dir(spool.layout.hooks(heir.worker), spool.dir_mode)
            targets = [spool.layout.hook(heir.worker, name) for name in new_names]
            spool.disk.publish_many([*zip(staged, targets, strict=True)])
            heir.inherit(new_names)
    finally:
        for path in staged:
            discard(path)
    for name in finished:
        hook_markers.remove(spool, dead, name)


def _never_took_place(spool: Spool, dead: str, name: str) -> bool:
    """Whether a marker tells of a rejection, but the file is still in its place, not in `dead/`."""
    with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
        marker = hook_markers.read(spool, dead, name)
        if marker.source is not None:
            in_place = exists(spool.layout.in_root(marker.source))
            return in_place and not exists(spool.layout.job("dead", marker.id))
    return False

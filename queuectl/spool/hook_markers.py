"""Markers: the word of an event that a hook is to be told of, on disk before the event can be.

A marker stands in `processing/WORKER/hooks/` from before its job moves to `done/` or `dead/`
until the hook's command has ended, so a worker that dies in between leaves word of it. It says
all that the command is told: the job may be purged before. Whoever recovers the worker takes its
markers over; one whose event never came, because the worker died before the outcome was written,
goes with the recovery of the job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from queuectl.disk.durable import discard
from queuectl.disk.reading import exists, read_regular
from queuectl.errors import InvalidJob
from queuectl.record.encoding import encode
from queuectl.record.ids import numbered
from queuectl.record.job import Attempt, Job, Outcome, State
from queuectl.record.settings import Settings
from queuectl.spool import layout
from queuectl.spool.places import Claim, ClaimedPlace, Place
from queuectl.spool.reject import id_for_reject
from queuectl.spool.spool import Spool

log = logging.getLogger(__name__)

Event = Literal["done", "dead", "idle"]
EVENTS: tuple[Event, ...] = ("done", "dead", "idle")

MAX_VALUE_BYTES = 100_000
"""Of one variable: Linux takes 128 KiB, its name included."""
MAX_MARKER_BYTES = 1 << 20
VARIABLES = (
    *("QUEUECTL_SPOOL", "QUEUECTL_EVENT", "QUEUECTL_JOB_ID", "QUEUECTL_JOB_FILE"),
    *("QUEUECTL_STATE", "QUEUECTL_OUTCOME", "QUEUECTL_ATTEMPT", "QUEUECTL_ATTEMPTS"),
    *("QUEUECTL_EXIT_CODE", "QUEUECTL_SIGNAL", "QUEUECTL_ERROR", "QUEUECTL_COMMAND"),
    *("QUEUECTL_LOG", "QUEUECTL_WORKER"),
)
"""All that a hook may be given; what does not apply to its event is not there."""


class Marker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a hook is to be told: the content of a `.hook` file.

    `source` is where a rejected file stood, from the spool's directory. `created_at` is the
    job's: with it, one that was enqueued anew under an old id is not taken for the old one.
    """

    event: Event
    id: str = "idle"
    attempt: int = 0
    state: State | None = None
    outcome: Outcome | None = None
    attempts: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None
    command: str | None = None
    log: str | None = None
    worker: str | None = None
    created_at: str | None = None
    source: str | None = None


class Heir(Protocol):
    """A worker that takes over the markers of the dead and runs their hooks."""

    worker: str

    def inherit(self, names: list[str]) -> None:
        """A dead holder was recovered; these of its markers are the worker's now."""


# -- what is said: pure ------------------------------------------------------------------------


def event_of(target: State, entry: Attempt | None) -> Event | None:
    """Return the event that it is when a job goes to `target` after its last attempt.

    None for what is no event: that a job was cancelled its owner knows.
    """
    if target == "completed":
        return "done"
    cancelled = entry is not None and entry.outcome == "cancelled"
    return "dead" if target == "dead" and not cancelled else None


def hook_for(event: Event | None, settings: Settings) -> str | None:
    """Return the command that the settings name for an event."""
    hooks = {"done": settings.on_done, "dead": settings.on_dead, "idle": settings.on_idle}
    return hooks[event] if event else None


def of_attempt(event: Event, job_id: str, job: Job, target: State) -> Marker:
    """Make the marker of a job whose last attempt ends it."""
    entry = job.last_attempt
    command = job.command if isinstance(job.command, str) else shlex.join(job.command)
    return Marker(
        event=event,
        id=job_id,
        attempt=entry.attempt if entry else 0,
        state=target,
        outcome=entry.outcome if entry else None,
        attempts=job.attempts,
        exit_code=entry.exit_code if entry else None,
        signal=entry.signal if entry else None,
        error=_safe(entry.error) if entry and entry.error else None,
        command=_safe(command),
        log=entry.log if entry else None,
        worker=entry.worker if entry else None,
        created_at=job.created_at,
    )


def of_reject(job_id: str, reason: str, source: str, attempt: int = 0) -> Marker:
    """Make the marker of a file that is no job and goes to `dead/`."""
    return Marker(
        event="dead",
        id=job_id,
        attempt=attempt,
        state="dead",
        error=_safe(reason),
        source=_safe(source),
    )


def environment(
    marker: Marker, *, root: str, place: Place | None, log: str | None
) -> dict[str, str]:
    """Return what a hook's command is told.

    `place` is where the job stands now (with the id it has there), `log` its last log's path.
    """
    job_id = None if marker.event == "idle" else marker.id
    paths = {"SPOOL": root, "JOB_FILE": place.path if place else None, "LOG": log}
    told: Mapping[str, object] = {
        "EVENT": marker.event,
        "JOB_ID": place.id if place else job_id,
        "STATE": marker.state,
        "OUTCOME": marker.outcome,
        "ATTEMPT": marker.attempt or None,
        "ATTEMPTS": marker.attempts,
        "EXIT_CODE": marker.exit_code,
        "SIGNAL": marker.signal,
        "ERROR": marker.error,
        "COMMAND": marker.command,
        "WORKER": marker.worker,
    }
    safe = {name: _safe(str(value)) for name, value in told.items() if value is not None}
    known = {name: path for name, path in paths.items() if path is not None}
    return {f"QUEUECTL_{name}": value for name, value in (known | safe).items()}


def _safe(text: str) -> str:
    """Make a text one that a program can be given: no NUL, no half characters, not too long."""
    data = text.replace("\0", "\ufffd").encode(errors="replace")
    return data[:MAX_VALUE_BYTES].decode(errors="ignore")


# -- on disk -----------------------------------------------------------------------------------


def put(spool: Spool, worker: str, marker: Marker) -> str | None:
    """Make a marker durable among a worker's, and return its name.

    None if the worker's claims are gone, and with them what the marker would tell of. Raises
    NotDurable, OSError.
    """
    name = layout.new_hook(marker.id, marker.attempt)
    try:
        spool.disk.make_dir(spool.layout.hooks(worker), spool.dir_mode)
    except FileNotFoundError:
        return None
    spool.write_beside(spool.layout.hook(worker, name), encode(marker))
    return name


def put_for(
    spool: Spool, claim: Claim, record: Job, target: State, settings: Settings
) -> str | None:
    """Make the marker of a claimed job that is about to go to `target` with a new record.

    None if that is no event, or no hook is set for it: then nothing touches the disk.
    """
    event = event_of(target, record.last_attempt)
    if event is None or hook_for(event, settings) is None:
        return None
    return put(spool, claim.worker, of_attempt(event, claim.id, record, target))


def put_for_reject(
    spool: Spool, worker: str, path: str, reason: str, claim: ClaimedPlace | None = None
) -> str | None:
    """Make the marker of a file, perhaps a claimed one, that is about to be rejected.

    None if no hook is set for it.
    """
    if hook_for("dead", spool.settings.last_good) is None:
        return None
    kept = id_for_reject(spool, path, claim.id if claim else None)
    source = spool.layout.relative(path)
    return put(spool, worker, of_reject(kept, reason, source, claim.attempt if claim else 0))


def read(spool: Spool, worker: str, name: str) -> Marker:
    """Read a marker. Raises OSError, msgspec.DecodeError."""
    data, _ = read_regular(spool.layout.hook(worker, name), MAX_MARKER_BYTES)
    return msgspec.json.decode(data, type=Marker)


def remove(spool: Spool, worker: str, name: str) -> None:
    """Remove a marker. That need not last: a hook that is run once more was run at least once."""
    discard(spool.layout.hook(worker, name))


def names(spool: Spool, worker: str) -> list[str]:
    """List the names of a worker's markers."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [n for n in os.listdir(spool.layout.hooks(worker)) if layout.parse_hook(n)]
    return []


# -- recovery ----------------------------------------------------------------------------------


def void(spool: Spool, place: ClaimedPlace, job: Job | None, but: Event | None = None) -> bool:
    """Remove the markers of a claim whose outcome was not written: their event never came.

    Those of the event `but` stay; returns whether there is one. The removal is on disk before the
    job goes elsewhere: else a power cut could bring back word of what never came.
    """
    stays = False
    for name in names(spool, place.worker):
        if layout.parse_hook(name) != (place.id, place.attempt):
            continue
        with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
            marker = read(spool, place.worker, name)
            if marker.created_at != (job and job.created_at) and marker.source is None:
                continue  # another job's, of the same id
            if marker.event == but:
                stays = True
                continue
        spool.disk.remove(spool.layout.hook(place.worker, name))
    return stays


def renew(spool: Spool, claim: Claim, target: State) -> None:
    """See that a dead worker's job, whose outcome is written, goes to `target` with its marker.

    What a command like `dlq retry` held goes back to where it was: that is no event.
    """
    entry = claim.job.last_attempt
    event = event_of(target, entry)
    place = ClaimedPlace("processing", claim.id, claim.path, claim.worker, claim.attempt)
    ours = entry is not None and (entry.worker, entry.attempt) == (claim.worker, claim.attempt)
    if not void(spool, place, claim.job, but=event) and ours:
        put_for(spool, claim, claim.job, target, spool.settings.last_good)


def take_over(spool: Spool, dead: str, heir: Heir) -> None:
    """Make the markers of a dead worker the heir's.

    Those of claims that could not be moved on yet, and those that cannot be read now, stay. The
    heir's are copies, on disk before the old ones go: where a rename between directories is two
    changes, a power cut could lose both. Raises NotDurable, OSError; then all stay.
    """
    held = {(place.id, place.attempt) for place in spool.reader.claims(dead)}
    given: list[str] = []  # their new names
    settled: list[str] = []

    def copies() -> Iterator[tuple[str, bytes]]:
        for name in names(spool, dead):
            parts = layout.parse_hook(name)
            if parts is None or parts in held:
                continue
            try:
                came = not _never_came(spool, dead, name)
                data, _ = read_regular(spool.layout.hook(dead, name), MAX_MARKER_BYTES)
            except OSError as error:
                log.error("hook %s of dead worker %s cannot be read: %s", name, dead, error)
                continue
            settled.append(name)
            if came:
                given.append(layout.new_hook(*parts))
                yield spool.layout.staged(), data

    staged = spool.disk.write_many(copies())
    try:
        if given:
            spool.disk.make_dir(spool.layout.hooks(heir.worker), spool.dir_mode)
            targets = [spool.layout.hook(heir.worker, name) for name in given]
            spool.disk.publish_many([*zip(staged, targets, strict=True)])
            heir.inherit(given)
    finally:
        for path in staged:
            discard(path)
    for name in settled:
        remove(spool, dead, name)


def _never_came(spool: Spool, dead: str, name: str) -> bool:
    """Whether a file that was to be rejected still stands where it stood, and not in `dead/`."""
    with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
        marker = read(spool, dead, name)
        if marker.source is not None:
            there = exists(spool.layout.in_root(marker.source))
            return there and not exists(spool.layout.job("dead", marker.id))
    return False


def find(spool: Spool, marker: Marker) -> Place | None:
    """Return where a marker's job stands now; None if it is gone."""
    if marker.state is None:
        return None
    number, job_id = 1, marker.id
    while found := [*spool.reader.unclaimed(job_id, (marker.state,))] or spool.reader.places(
        job_id
    ):
        for place in found:
            if marker.source is not None:
                return place
            with contextlib.suppress(InvalidJob, OSError):
                if _is_of(marker, spool.reader.read(place.path)[0]):
                    return place
        number += 1  # it may have been moved to a name that was taken
        job_id = numbered(marker.id, number)
    return None


def _is_of(marker: Marker, job: Job) -> bool:
    entries = job.history[marker.attempt - 1 : marker.attempt]
    return job.created_at == marker.created_at and any(e.worker == marker.worker for e in entries)

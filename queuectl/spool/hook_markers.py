"""Hook markers: files that say that a hook is due, on disk before the event takes place.

A marker is in `processing/WORKER/hooks/` from before its job moves to `done/` or `dead/` until the
hook's command has ended. So if the worker dies in between, the marker remains. It holds everything
that the command is told, because the job may be purged before the hook runs.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from queuectl.disk.durable import discard
from queuectl.disk.reading import read_regular
from queuectl.errors import InvalidJob
from queuectl.record.encoding import encode
from queuectl.record.hook_event import Marker, event_of, hook_for, of_attempt, of_reject
from queuectl.record.ids import numbered
from queuectl.record.job import Job, State
from queuectl.record.settings import Settings
from queuectl.spool import layout
from queuectl.spool.places import Claim, ClaimedPlace, Place
from queuectl.spool.reject import id_for_reject
from queuectl.spool.spool import Spool

MAX_MARKER_BYTES = 1 << 20


def put(spool: Spool, worker: str, marker: Marker) -> str | None:
    """Write a marker durably for a worker, and return its name.

    Returns None if the worker's claims are gone: then so is the job that the marker tells of.
    Raises NotDurable, OSError.
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
    """Write the marker of a claimed job that is about to move to `target` with a new record.

    Returns None if that is not an event, or if no hook is set for it; then nothing is written.
    """
    event = event_of(target, record.last_attempt)
    if event is None or hook_for(event, settings) is None:
        return None
    return put(spool, claim.worker, of_attempt(event, claim.id, record, target))


def put_for_reject(
    spool: Spool, worker: str, path: str, reason: str, claim: ClaimedPlace | None = None
) -> str | None:
    """Write the marker of a file that is about to be rejected; `claim` says if it is claimed.

    Returns None if no hook is set for it.
    """
    if hook_for("dead", spool.settings.last_good) is None:
        return None
    kept = id_for_reject(spool, path, claim.id if claim else None)
    source = spool.layout.relative(path)
    return put(spool, worker, of_reject(kept, reason, source, claim.attempt if claim else 0))


def read(spool: Spool, worker: str, name: str) -> Marker:
    """Read a marker. Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(read_bytes(spool, worker, name), type=Marker)


def read_bytes(spool: Spool, worker: str, name: str) -> bytes:
    """Read the bytes of a marker. Raises OSError."""
    data, _ = read_regular(spool.layout.hook(worker, name), MAX_MARKER_BYTES)
    return data


def remove(spool: Spool, worker: str, name: str) -> None:
    """Remove a marker. If a power cut brings it back, the hook runs again, which is allowed."""
    discard(spool.layout.hook(worker, name))


def names(spool: Spool, worker: str) -> list[str]:
    """Return the names of a worker's markers."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [n for n in os.listdir(spool.layout.hooks(worker)) if layout.parse_hook(n)]
    return []


def find_job(spool: Spool, marker: Marker) -> Place | None:
    """Return where the job of a marker is now; None if it is gone. Raises OSError."""
    if marker.state is None:
        return None
    number, job_id = 1, marker.id
    while found := [*spool.reader.unclaimed(job_id, (marker.state,))] or spool.reader.places(
        job_id
    ):
        for place in found:
            if marker.source is not None:
                return place
            with contextlib.suppress(InvalidJob, FileNotFoundError, PermissionError):
                if marker.is_about(spool.reader.read(place.path)[0]):
                    return place
        number += 1  # if its name was taken, the job was moved to a numbered one
        job_id = numbered(marker.id, number)
    return None

"""The events that hooks run for, and what a hook is told of one: pure, no I/O."""

from __future__ import annotations

import shlex
from typing import Literal

from msgspec import Struct

from queuectl.record.job import Attempt, Job, Outcome, State
from queuectl.record.settings import Settings

Event = Literal["done", "dead", "idle"]
EVENTS: tuple[Event, ...] = ("done", "dead", "idle")

MAX_VALUE_BYTES = 100_000
"""The size of one variable's value. Linux allows 128 KiB, including the variable's name."""
VARIABLES = (
    *("QUEUECTL_SPOOL", "QUEUECTL_EVENT", "QUEUECTL_JOB_ID", "QUEUECTL_JOB_FILE"),
    *("QUEUECTL_STATE", "QUEUECTL_OUTCOME", "QUEUECTL_ATTEMPT", "QUEUECTL_ATTEMPTS"),
    *("QUEUECTL_EXIT_CODE", "QUEUECTL_SIGNAL", "QUEUECTL_ERROR", "QUEUECTL_COMMAND"),
    *("QUEUECTL_LOG", "QUEUECTL_WORKER"),
)
"""All variables that a hook may get. A variable that does not apply to the event is not set."""


class Marker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event and all that its hook is told: the content of a hook marker.

    `source` is the path of a rejected file before the rejection, relative to the spool's directory.
    `created_at` is the job's: it tells the job from a later job that was enqueued with the same id.
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

    def is_about(self, job: Job) -> bool:
        """Whether the job's history has the attempt that this marker tells of."""
        entries = job.history[self.attempt - 1 : self.attempt]
        return job.created_at == self.created_at and any(e.worker == self.worker for e in entries)


def event_of(target: State, entry: Attempt | None) -> Event | None:
    """Return the event when a job moves to `target` after its last attempt; None if it is none.

    A cancelled job is not an event: the person who cancelled it knows.
    """
    if target == "completed":
        return "done"
    cancelled = entry is not None and entry.outcome == "cancelled"
    return "dead" if target == "dead" and not cancelled else None


def hook_for(event: Event | None, settings: Settings) -> str | None:
    """Return the command that the settings name for an event; None if there is none."""
    hooks = {"done": settings.on_done, "dead": settings.on_dead, "idle": settings.on_idle}
    return hooks[event] if event else None


def of_attempt(event: Event, job_id: str, job: Job, target: State) -> Marker:
    """Make the marker of a job that ends with its last attempt."""
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
    """Make the marker of a file that is not a valid job and moves to `dead/`."""
    return Marker(
        event="dead",
        id=job_id,
        attempt=attempt,
        state="dead",
        error=_safe(reason),
        source=_safe(source),
    )


def environment(
    marker: Marker, *, root: str, log: str | None, job_id: str | None, job_file: str | None
) -> dict[str, str]:
    """Return the variables that tell a hook's command of its event.

    `root` is the spool's directory, `log` the path of the last attempt's log, `job_file` the job's
    path now. `job_id` is the id that the job has now, None if the job is gone.
    """
    paths = {"SPOOL": root, "JOB_FILE": job_file, "LOG": log}
    values: dict[str, object] = {
        "EVENT": marker.event,
        "JOB_ID": job_id or (None if marker.event == "idle" else marker.id),
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
    safe = {name: _safe(str(value)) for name, value in values.items() if value is not None}
    known = {name: path for name, path in paths.items() if path is not None}
    return {f"QUEUECTL_{name}": value for name, value in (known | safe).items()}


def _safe(text: str) -> str:
    """Make a text fit for an environment: without NUL and lone surrogates, and not too long."""
    data = text.replace("\0", "\ufffd").encode(errors="replace")
    return data[:MAX_VALUE_BYTES].decode(errors="ignore")

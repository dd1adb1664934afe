"""The small records of a running worker and a running attempt."""

from __future__ import annotations

from msgspec import Struct


class Run(Struct, frozen=True, kw_only=True):
    """A running attempt: the content of `ID.ATTEMPT.run`. `pid` is null until it is known."""

    attempt: int
    slot: int
    host: str
    boot_id: str
    pid: int | None
    started_at: str


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A worker: the content of `workers/WORKER.json`."""

    name: str
    host: str
    boot_id: str
    pid: int
    slots: int
    started_at: str


def cookie(worker: str, job_id: str, run: Run) -> str:
    """Return the QUEUECTL_RUN of this attempt, which no other attempt's processes carry."""
    return f"{worker}.{job_id}.{run.attempt}.{run.started_at}"

"""The small records of a running worker and a running attempt."""

from __future__ import annotations

from msgspec import Struct

from queuectl.record.encoding import encode

_LONGEST_PID = 7
"""Digits: Linux gives out no pid above 4194304."""


class Run(Struct, frozen=True, kw_only=True):
    """A running attempt: the content of `ID.ATTEMPT.run`. `pid` is null until it is known.

    `inode` is that of the job's file: it tells which job runs if somebody moves and renames the
    file meanwhile.
    """

    attempt: int
    slot: int
    inode: int = 0
    host: str
    boot_id: str
    pid_namespace: str = ""
    pid: int | None
    started_at: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What the pid's meaning depends on: see `host.here`."""
        return self.host, self.boot_id, self.pid_namespace


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A worker: the content of `workers/WORKER.json`."""

    name: str
    host: str
    boot_id: str
    pid_namespace: str = ""
    pid: int
    slots: int
    started_at: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What the pid's meaning depends on: see `host.here`."""
        return self.host, self.boot_id, self.pid_namespace


def content(run: Run) -> bytes:
    """Return what is in a run file: as many bytes without a pid as with any pid.

    So the pid can be written over the file in place: nothing of the earlier content is left at the
    end, and the file is valid JSON before and after that one write.
    """
    missing = _LONGEST_PID - len("null" if run.pid is None else str(run.pid))
    return encode(run) + b"\n" * missing


def cookie(worker: str, job_id: str, run: Run) -> str:
    """Return the QUEUECTL_RUN of this attempt, which no other attempt's processes carry."""
    return f"{worker}.{job_id}.{run.attempt}.{run.started_at}"

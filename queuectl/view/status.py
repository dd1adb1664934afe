"""Jobs, workers and the whole queue as data: what people and programs are shown of a spool."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
from typing import Any

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.disk.locks import is_locked
from queuectl.disk.reading import exists, read_regular
from queuectl.errors import InvalidJob
from queuectl.record.ids import is_id
from queuectl.record.job import Job, State
from queuectl.record.running import WorkerInfo
from queuectl.spool import layout
from queuectl.spool.places import FINISHED, ClaimedPlace, Place
from queuectl.spool.reader import Reader

DIED = "its worker has died; the next worker that looks recovers it"
MAX_REASON_BYTES = 4096
MAX_DIGITS = 4000
"""Digits of an integer; Python refuses to read integers of more than 4300 digits."""


class JobStatus(Struct, frozen=True):
    """A job as it is now.

    `job` is None if its file is not a valid job. `problem` says why the file is not run: it is
    not valid, it belongs to a user whose jobs are not run, or the worker that ran it has died.
    `worker`, `slot`, `pid`, `started_at` and `attempt` are set while it runs, or was running when
    its worker died. `ended_at` is set when it has ended.
    """

    id: str
    state: State
    path: str
    job: Job | None = None
    problem: str | None = None
    worker: str | None = None
    slot: int | None = None
    pid: int | None = None
    started_at: str | None = None
    attempt: int | None = None
    ended_at: str | None = None

    @property
    def tries(self) -> int:
        """The attempts that count, the running one included."""
        return (self.job.attempts if self.job else 0) + (self.attempt is not None)

    @property
    def reason(self) -> str | None:
        """Why the job is not completed: its problem, or the error of its last attempt.

        A job that is to run once more has none: its last error is not what it waits for.
        """
        last = self.job.last_attempt if self.job else None
        if self.problem or self.job is None or last is None or last.outcome == "ok":
            return self.problem
        if self.state in FINISHED or self.job.attempts or last.outcome == "interrupted":
            return last.error or last.outcome
        return None

    def to_json(self) -> msgspec.Raw:
        """Return one JSON object: the record as it is written, and `id`, `state`, `path`."""
        about = {name: getattr(self, name) for name in ("problem", "worker", "slot", "pid")}
        about["running_since"] = self.started_at
        known = {name: value for name, value in about.items() if value is not None}
        place = {"id": utf8(self.id), "state": self.state, "path": utf8(self.path)}
        return msgspec.Raw(
            msgspec.json.encode({**(self.job.raw if self.job else {}), **place, **known})
        )

    def to_dict(self) -> dict[str, Any]:
        """Return `to_json` as Python values; a number that is too large for Python is inf."""
        found: dict[str, Any] = json.loads(bytes(self.to_json()), parse_int=_number)
        return found


class SlotStatus(Struct, frozen=True):
    """The attempt that a slot of a worker runs."""

    slot: int | None
    id: str
    attempt: int
    pid: int | None
    started_at: str | None


class WorkerStatus(Struct, frozen=True):
    """A worker. If it is not `alive` it has died, and its jobs wait for another to recover them.

    One that is `leaving` ends its running jobs and takes no other.
    """

    name: str
    host: str
    pid: int
    slots: int
    started_at: str
    alive: bool
    running: list[SlotStatus]
    leaving: bool = False

    @property
    def takes_jobs(self) -> bool:
        """Whether the worker would take a job now."""
        return self.alive and not self.leaving


class QueueStatus(Struct, frozen=True):
    """The whole queue in numbers."""

    spool: str
    jobs: dict[State, int]
    workers: list[WorkerStatus]


def utf8(text: str) -> str:
    r"""Write the bytes of a file name that are not UTF-8 as `\xNN`: JSON cannot hold them."""
    return os.fsencode(text).decode(errors="backslashreplace")


def as_json(value: Any) -> bytes:
    """Encode what a program is shown; bytes of file names that are not UTF-8 are escaped."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_in_utf8(value))


def _in_utf8(value: Any) -> Any:
    match value:
        case str():
            return utf8(value)
        case dict():
            return {key: _in_utf8(each) for key, each in value.items()}
        case list():
            return [_in_utf8(each) for each in value]
        case Struct():
            return _in_utf8(msgspec.structs.asdict(value))
    return value


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < MAX_DIGITS else float(digits)


def newest(reader: Reader, state: State, limit: int | None = None) -> list[Place]:
    """List the jobs of a state, the last changed first: all of them, or the first `limit`."""
    if state == "processing":
        claims: list[Place] = [*reader.claims()]
        return claims[:limit]
    dated = []
    directory = os.open(reader.layout.states[state], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in filter(layout.is_job_name, os.listdir(directory)):
            try:  # by its name in the directory: a sixth faster than by its path
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            dated.append((found.st_mtime_ns, name))
    finally:
        os.close(directory)
    first = sorted(dated, reverse=True) if limit is None else heapq.nlargest(limit, dated)
    return [Place(state, layout.stem(name), reader.layout.entry(state, name)) for _, name in first]


def job_status(reader: Reader, place: Place) -> JobStatus | None:
    """Read a job at the place where it was just seen; None if it has moved since."""
    job, problem = None, _reason(reader, place)
    try:
        job = reader.read(place.path)[0]
    except FileNotFoundError:
        return None
    except (InvalidJob, OSError) as error:
        problem = problem or str(error)
    status = JobStatus(
        place.id, place.state, place.path, job, problem, ended_at=_ended_at(reader, place, job)
    )
    if not isinstance(place, ClaimedPlace):
        return status
    slot = slot_status(reader, place)
    if not is_locked(reader.layout.worker(place.worker, "lock")) and exists(place.path):
        problem = problem or DIED
    return msgspec.structs.replace(
        status,
        problem=problem,
        worker=place.worker,
        slot=slot.slot,
        pid=slot.pid,
        started_at=slot.started_at,
        attempt=place.attempt,
    )


def _ended_at(reader: Reader, place: Place, job: Job | None) -> str | None:
    """Return when a job ended: with its last attempt, or else when it came where it is."""
    if place.state not in FINISHED:
        return None
    if job and job.last_attempt and job.last_attempt.finished_at:
        return job.last_attempt.finished_at
    entered = reader.entered_at(place.state, os.path.basename(place.path))
    return None if entered is None else clock.format_timestamp(entered / 1e9)


def slot_status(reader: Reader, place: ClaimedPlace) -> SlotStatus:
    """Return the attempt that runs under a claim."""
    run = reader.read_run(place)
    if run is None:
        return SlotStatus(None, place.id, place.attempt, None, None)
    return SlotStatus(run.slot, place.id, place.attempt, run.pid, run.started_at)


def worker_status(reader: Reader, info: WorkerInfo) -> WorkerStatus:
    """Return what a worker does, and whether it is alive: whether it holds its lock."""
    alive = is_locked(reader.layout.worker(info.name, "lock"))
    running = [slot_status(reader, place) for place in reader.claims(info.name)]
    running.sort(key=lambda busy: busy.slot or 0)
    leaving = alive and os.path.lexists(reader.layout.worker(info.name, "stop"))
    return WorkerStatus(
        info.name, info.host, info.pid, info.slots, info.started_at, alive, running, leaving
    )


def _reason(reader: Reader, place: Place) -> str | None:
    if place.state == "dead" and is_id(place.id):
        with contextlib.suppress(OSError):
            data, _ = read_regular(reader.layout.reason(place.id), MAX_REASON_BYTES)
            return data.decode(errors="replace").strip()
    return None

"""What is in a spool, read from its directories: this module changes nothing.

Jobs move while they are looked for. A function that says that there is none has looked twice, in
the order in which jobs move.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator

import msgspec

from queuectl import clock
from queuectl.disk.locks import is_locked
from queuectl.disk.reading import NotRegular, exists, has_writer, read_regular
from queuectl.errors import AmbiguousId, InvalidInput, InvalidJob, NoSuchJob
from queuectl.record.ids import ID_RULE, is_id
from queuectl.record.job import MAX_RECORD_BYTES, STATES, Job, State, decode
from queuectl.record.running import Run, WorkerInfo
from queuectl.spool import layout
from queuectl.spool.places import FINISHED, UNCLAIMED, ClaimedPlace, Place, Ready, Unfit, version_of

MAX_WORKER_FILE_BYTES = 65536

_PRECEDENCE = {state: rank for rank, state in enumerate(("processing", *UNCLAIMED))}


class Reader:
    """The read side of a spool. Safe to use from several threads.

    `dir_mode` is the mode of the spool's directories. `trusted_owners` are the user ids whose job
    files are run; None trusts everyone who may write to the spool.
    """

    def __init__(self, root: str) -> None:
        self.layout = layout.Layout(root)
        found = os.stat(root)
        self.dir_mode = stat.S_IMODE(found.st_mode) | 0o700
        self.trusted_owners: frozenset[int] | None = frozenset({os.geteuid(), found.st_uid, 0})

    # -- list ------------------------------------------------------------------------------

    def names(self, state: State) -> Iterator[str]:
        """List the names of a state's job files (not of `processing`: see `claims`)."""
        with os.scandir(self.layout.states[state]) as entries:
            for entry in entries:
                if layout.is_job_name(entry.name):
                    yield entry.name

    def counts(self) -> dict[State, int]:
        """Count the jobs of each state by their names, without opening any."""
        waiting = {s: sum(1 for _ in self.names(s)) for s in STATES if s != "processing"}
        return {s: waiting[s] if s in waiting else sum(1 for _ in self.claims()) for s in STATES}

    def claims(self, worker: str | None = None) -> Iterator[ClaimedPlace]:
        """List the claimed jobs, of one worker or of all."""
        return (place for place, ending in self.claim_files(worker) if ending == "json")

    def claims_of(self, job_id: str, worker: str | None = None) -> list[ClaimedPlace]:
        """Return the claims of a job of exactly this id, by one worker or by all."""
        return [place for place in self.claims(worker) if place.id == job_id]

    def runs(self, worker: str | None = None) -> Iterator[ClaimedPlace]:
        """List the run files. One without its job is left of a command whose job was moved."""
        return (place for place, ending in self.claim_files(worker) if ending == "run")

    def claim_files(self, worker: str | None = None) -> Iterator[tuple[ClaimedPlace, str]]:
        """List the files of one holder's claims, or of all holders, with their endings."""
        for name in [worker] if worker else self.claimants():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for file in os.listdir(self.layout.claims(name)):
                    if parts := layout.parse_claim(file):
                        path = self.layout.in_claims(name, file)
                        yield ClaimedPlace("processing", parts[0], path, name, parts[1]), parts[2]

    def claimants(self) -> list[str]:
        """List the names of all who have a directory of claims; links are left out."""
        with os.scandir(self.layout.processing) as entries:
            return [
                entry.name
                for entry in entries
                if layout.is_worker(entry.name) and entry.is_dir(follow_symlinks=False)
            ]

    def workers(self) -> list[WorkerInfo]:
        """Read the workers' files, those of dead workers that nobody has recovered yet included."""
        found = []
        for name in sorted(os.listdir(self.layout.workers)):
            if layout.is_job_name(name):
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    data, _ = read_regular(self.layout.in_workers(name), MAX_WORKER_FILE_BYTES)
                    info = msgspec.json.decode(data, type=WorkerInfo)
                    if info.name == layout.stem(name):
                        found.append(info)
        return found

    def worker_logs(self) -> list[str]:
        """List the names of the workers whose log is there."""
        names = os.listdir(self.layout.workers)
        return sorted(n[:-4] for n in names if n.endswith(".log") and layout.is_worker_file(n))

    def leftovers(self) -> Iterator[str]:
        """List what dead writers left in `tmp/`, and logs and stop files of workers that have left.

        Their age is that of the last change, the ctime: `cp -p` and `tar` set an old mtime.
        """
        limit = clock.now() - layout.LEFTOVER_SECONDS
        for path in self._unowned():
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_ctime < limit:
                    yield path

    def _unowned(self) -> Iterator[str]:
        with os.scandir(self.layout.tmp) as entries:
            yield from (entry.path for entry in entries)
        for name in os.listdir(self.layout.workers):
            worker, _, ending = name.partition(".")
            ours = ending in (*layout.WORKER_LOGS, "stop")
            if ours and not exists(self.layout.worker(worker, "lock")):
                yield self.layout.in_workers(name)

    # -- find ------------------------------------------------------------------------------

    def places(self, job_id: str) -> list[Place]:
        """Return where a job of exactly this id is: one place, unless a file was dropped under a
        taken id; that file, still in `pending/`, comes last.

        The states are looked at in the order in which jobs move, and all of them once more before
        the answer is "none", so that a job that moves meanwhile is not missed.
        """
        for _ in range(2):
            waiting = [*self.unclaimed(job_id, ("pending", "failed"))]
            found = [*self.claims_of(job_id), *self.unclaimed(job_id, FINISHED)]
            if waiting or found:
                break
        return sorted([*found, *waiting], key=lambda place: _PRECEDENCE[place.state])

    def unclaimed(self, job_id: str, states: Iterable[State]) -> Iterator[Place]:
        """Look for a job of exactly this id in states other than processing."""
        for state in states:
            path = self.layout.job(state, job_id)
            if exists(path):
                yield Place(state, job_id, path)

    def find(self, text: str) -> Place:
        """Return where the job is whose id is `text`, or else the only one that begins with it.

        Raises NoSuchJob, AmbiguousId.
        """
        if is_id(text):
            if places := self.places(text):
                return places[0]
            if dropped := self.dropped_as(text):
                return dropped
            begun = self._beginning_with(text)
            ids = sorted({place.id for place in begun})
            if text in ids:  # it has just moved back to where we had already looked
                return next(place for place in begun if place.id == text)
            if len(ids) > 1:
                shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
                raise AmbiguousId(f"the ids of {len(ids)} jobs begin with {text!r}: {shown}")
            if begun:
                return begun[0]
        raise NoSuchJob(f"no job {text!r} in {self.layout.root}: `queuectl list` lists the jobs")

    def find_exactly(self, job_id: str) -> Place:
        """Return where the job of exactly this id is. Raises NoSuchJob."""
        if is_id(job_id) and (places := self.places(job_id)):
            return places[0]
        raise NoSuchJob(f"job {job_id} does not exist, or not any more")

    def dropped_as(self, job_id: str) -> Place | None:
        """Look for a dropped file that has this id inside and another name.

        This reads the waiting files, except those whose names are ids that queuectl has made up.
        """
        for name in self.names("pending"):
            if not layout.is_new_id(layout.stem(name)):
                path = self.layout.entry("pending", name)
                with contextlib.suppress(InvalidJob, OSError):
                    if self.read(path)[0].id == job_id:
                        return Place("pending", job_id, path)
        return None

    def _beginning_with(self, text: str) -> list[Place]:
        found: list[Place] = [p for p in self.claims() if p.id.startswith(text)]
        for state in UNCLAIMED:
            found += [
                Place(state, layout.stem(name), self.layout.entry(state, name))
                for name in self.names(state)
                if layout.stem(name).startswith(text) and is_id(layout.stem(name))
            ]
        return found

    # -- read ------------------------------------------------------------------------------

    def look(self, state: State, name: str) -> Ready | Unfit | None:
        """Read a waiting file: a job, not (yet) a job, or None if it is gone.

        A file that may not be read counts as not a job, for its mode may be changed. Raises OSError
        for every other error: it says nothing about the file, which waits.
        """
        path = self.layout.entry(state, name)
        try:
            return self.examine(path, state, name)
        except FileNotFoundError:
            return None
        except (InvalidJob, PermissionError) as error:
            return _unfit(path, error)

    def examine(self, path: str, state: State, name: str) -> Ready:
        """Read a file that is, or has just been, `name` in a state.

        Raises OSError, and InvalidJob, also for the file of a user whose jobs are not run.
        """
        job, found = self.read(path)
        if self.trusted_owners is not None and found.st_uid not in self.trusted_owners:
            raise InvalidJob(
                f"owned by uid {found.st_uid}, who is neither the worker's user, "
                "the spool's owner nor root"
            )
        wanted = wanted_id(job, state, name)
        if not is_id(wanted):
            raise InvalidJob(
                f"the file's name is not a valid job id, and it has no id inside: {ID_RULE}; "
                'rename the file, put an "id" into it, or let `queuectl dlq retry` run it under '
                "the id that it is listed with"
            )
        return Ready(wanted, len(job.history), job, found.st_ino)

    def read(self, path: str) -> tuple[Job, os.stat_result]:
        """Read a job record. Raises InvalidJob for what is the file's fault, else OSError."""
        try:
            data, found = read_regular(path, MAX_RECORD_BYTES)
        except NotRegular as error:
            raise InvalidJob(str(error.strerror)) from None
        if len(data) > MAX_RECORD_BYTES:
            raise InvalidJob(f"{found.st_size:,} bytes: larger than any job file")
        job = decode(data)
        if job.created_at is None:
            job = job.evolve(created_at=clock.format_timestamp(found.st_mtime))
        return job, found

    def read_run(self, place: ClaimedPlace) -> Run | None:
        """Read a claim's run file; None if there is none, or it did not survive a crash."""
        path = self.layout.claim(place.worker, place.id, place.attempt, "run")
        with contextlib.suppress(OSError, msgspec.DecodeError, InvalidInput):
            run = msgspec.json.decode(read_regular(path, MAX_RECORD_BYTES)[0], type=Run)
            clock.parse_timestamp(run.started_at)  # it was not synced: a part of it may be left
            return run
        return None

    def is_running(self, run_file: str) -> bool:
        """Whether a process of a run is alive: it holds the run file's lock.

        True also if that cannot be found out: then the job waits, as it does for a process. What
        cannot be opened because it is not a file, such as a link, is not a run file.
        """
        try:
            return is_locked(run_file)
        except OSError as error:
            return error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO)

    # -- age -------------------------------------------------------------------------------

    def entered(self, state: State) -> Iterator[tuple[int, str]]:
        """List when each file came into a state (ns since the epoch), and its name."""
        with os.scandir(self.layout.states[state]) as entries:
            for entry in entries:
                if layout.is_job_name(entry.name):
                    when = self.entered_at(state, entry.name)
                    if when is not None:
                        yield when, entry.name

    def entered_at(self, state: State, name: str) -> int | None:
        """Return when a file came into a state (ns since the epoch); None if it is gone.

        That is when queuectl last wrote it; for a rejected file, when it wrote the reason.
        """
        try:
            written = os.lstat(self.layout.entry(state, name)).st_mtime_ns
        except FileNotFoundError:
            return None
        if state == "dead" and is_id(layout.stem(name)):
            with contextlib.suppress(FileNotFoundError):
                reason = os.stat(self.layout.reason(layout.stem(name)))
                return max(written, reason.st_mtime_ns)
        return written

    def older(self, state: State, seconds: float) -> Iterator[Place]:
        """List the files that came into a state more than that many seconds ago."""
        limit = (clock.now() - seconds) * 1e9
        for when, name in self.entered(state):
            if when < limit:
                yield Place(state, layout.stem(name), self.layout.entry(state, name))


def wanted_id(job: Job, state: State, name: str) -> str:
    """Return the id that a file asks for: in `pending/` the id inside wins over the file's name.

    Elsewhere queuectl gave the name. The name of a dropped file may not be a valid id.
    """
    return (job.id if state == "pending" else None) or layout.stem(name)


def _unfit(path: str, error: Exception) -> Unfit | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    reason = str(error.strerror if isinstance(error, OSError) else error)
    return Unfit(reason, version_of(found), stat.S_ISREG(found.st_mode) and has_writer(path))

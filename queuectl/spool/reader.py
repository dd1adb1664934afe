"""What stands in a spool, read from its directories: this module changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.disk.locks import try_lock
from queuectl.disk.reading import exists, has_writer, read_regular, same_file
from queuectl.errors import AmbiguousId, InvalidInput, InvalidJob, NoSuchJob
from queuectl.record.ids import is_id, numbered
from queuectl.record.job import MAX_RECORD_BYTES, STATES, Job, State, decode
from queuectl.record.running import Run, WorkerInfo
from queuectl.spool import layout

_WAITS_FOR_OTHERS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)

UNCLAIMED: tuple[State, ...] = ("failed", "completed", "dead", "pending")
"""The states but processing; `pending` comes last, for there alone an id may not be its own."""

_PRECEDENCE = {state: rank for rank, state in enumerate(("processing", *UNCLAIMED))}


class Place(Struct, frozen=True, order=True):
    """Where a job stands: its state, its id, its file."""

    state: State
    id: str
    path: str


class ClaimedPlace(Place, frozen=True):
    """Where a claimed job stands, and for which attempt its holder has claimed it."""

    worker: str
    attempt: int


class Seen(Struct, frozen=True):
    """A waiting job as it was seen: the id it asks for, and how many attempts it has had."""

    id: str
    attempts: int


class Ready(Seen, frozen=True):
    """A file that is a job, and its record."""

    job: Job


class Unfit(Struct, frozen=True):
    """A file that is no job, perhaps not yet. It has not changed while `version` is equal."""

    reason: str
    version: tuple[int, ...]
    being_written: bool


class Reader:
    """The read side of a spool."""

    def __init__(self, root: str) -> None:
        self.layout = layout.Layout(root)
        found = os.stat(root)
        self.dir_mode = stat.S_IMODE(found.st_mode) | 0o700
        self.trusted_owners: frozenset[int] | None = frozenset({os.geteuid(), found.st_uid, 0})
        """Whose job files are run; None trusts everyone who may write to the spool."""

    def names(self, state: State) -> Iterator[str]:
        """List the names of a state's job files (not of `processing`: see `claims`)."""
        with os.scandir(self.layout.states[state]) as entries:
            for entry in entries:
                if layout.is_job_name(entry.name):
                    yield entry.name

    def claims(self, worker: str | None = None) -> Iterator[ClaimedPlace]:
        """List the claimed jobs, of one worker or of all."""
        return (place for place, ending in self.claim_files(worker) if ending == "json")

    def runs(self, worker: str | None = None) -> Iterator[ClaimedPlace]:
        """List the run files. One without its job is left of a command whose job was moved."""
        return (place for place, ending in self.claim_files(worker) if ending == "run")

    def claim_files(
        self, worker: str | None = None, *, but: str | None = None
    ) -> Iterator[tuple[ClaimedPlace, str]]:
        """List the files of the claims of one worker, or of all `but` one, with their endings."""
        for name in [worker] if worker else self.claimants():
            if name == but:
                continue
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for file in os.listdir(self.layout.claims(name)):
                    if parts := layout.parse_claim(file):
                        path = self.layout.in_claims(name, file)
                        yield ClaimedPlace("processing", parts[0], path, name, parts[1]), parts[2]

    def is_held(self, run_file: str) -> bool:
        """Whether something that a command started is alive: it holds the run file's lock."""
        with contextlib.suppress(OSError):
            lock = try_lock(run_file)
            if lock is None:
                return True
            os.close(lock)
        return False

    def claims_of(self, job_id: str, worker: str | None = None) -> list[ClaimedPlace]:
        """Return the claims of a job of exactly this id, by one worker or by all."""
        return [place for place in self.claims(worker) if place.id == job_id]

    def claimants(self) -> list[str]:
        """List the names of all who have a directory of claims; a link is none."""
        with os.scandir(self.layout.processing) as entries:
            return [
                entry.name
                for entry in entries
                if layout.is_worker(entry.name) and entry.is_dir(follow_symlinks=False)
            ]

    def places(self, job_id: str) -> list[Place]:
        """Return where a job of exactly this id stands: one place, unless a file was dropped
        under an id that is taken; that one, still in `pending/`, comes last.

        The states are looked at in the order in which jobs move, and once more before it is
        believed that there is none: one that moves on meanwhile is not missed.
        """
        for _ in range(2):
            waiting = [*self.unclaimed(job_id, ("pending", "failed"))]
            found = [*self.claims_of(job_id), *self.unclaimed(job_id, layout.FINISHED)]
            if waiting or found:
                break
        return sorted([*found, *waiting], key=lambda place: _PRECEDENCE[place.state])

    def unclaimed(self, job_id: str, states: Iterable[State]) -> Iterator[Place]:
        """Look for a job of exactly this id in states other than processing."""
        for state in states:
            path = self.layout.job(state, job_id)
            if exists(path):
                yield Place(state, job_id, path)

    def superseded(self, place: ClaimedPlace, job: Job) -> bool:
        """Whether the same job stands elsewhere too, in a state that is no earlier than this one.

        That is what a power cut may leave where directories reach the disk one by one (ext4
        without a journal), or a move by link and unlink that was cut in two: the job's later
        place is on disk already, and the removal of its earlier one is not.
        """
        log = self.layout.relative(self.layout.log(place.id, place.attempt))
        for other in self._namesakes(place):
            if other.path == place.path:
                continue
            if same_file(other.path, place.path):
                return True
            with contextlib.suppress(InvalidJob, OSError):
                if _follows(self.read(other.path)[0], job, place, log):
                    return True
        return False

    def _namesakes(self, place: ClaimedPlace) -> Iterator[Place]:
        """Where a claimed job may stand too: under its id, the numbers of it, or as one file."""
        number, job_id = 1, place.id
        while found := self.places(job_id):
            yield from found
            number += 1
            job_id = numbered(place.id, number)
        seen = os.lstat(place.path)
        if seen.st_nlink > 1:  # dropped under another name than its id
            for state in UNCLAIMED:
                with os.scandir(self.layout.states[state]) as entries:
                    for entry in entries:
                        if entry.inode() == seen.st_ino and layout.is_job_name(entry.name):
                            yield Place(state, layout.stem(entry.name), entry.path)

    def find(self, text: str) -> Place:
        """Return where the job stands whose id is, or alone begins with, `text`.

        Raises NoSuchJob, AmbiguousId.
        """
        if is_id(text):
            if places := self.places(text):
                return places[0]
            begun = self._beginning_with(text)
            ids = sorted({place.id for place in begun})
            if text in ids:  # it has just come back to where we had looked
                return next(place for place in begun if place.id == text)
            if len(ids) > 1:
                shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
                raise AmbiguousId(f"{len(ids)} jobs have an id that begins with {text}: {shown}")
            if begun:
                return begun[0]
        raise NoSuchJob(f"no job {text!r} in {self.layout.root}: `queuectl list` shows them all")

    def find_exactly(self, job_id: str) -> Place:
        """Return where the job of this id stands. Raises NoSuchJob."""
        if places := self.places(job_id):
            return places[0]
        raise NoSuchJob(f"job {job_id} is not there any more")

    def _beginning_with(self, text: str) -> list[Place]:
        found: list[Place] = [p for p in self.claims() if p.id.startswith(text)]
        for state in UNCLAIMED:
            found += [
                Place(state, layout.stem(name), self.layout.entry(state, name))
                for name in self.names(state)
                if layout.stem(name).startswith(text) and is_id(layout.stem(name))
            ]
        return found

    def counts(self) -> dict[State, int]:
        """Count the jobs of each state by their names, without opening any."""
        waiting = {s: sum(1 for _ in self.names(s)) for s in STATES if s != "processing"}
        return {s: waiting[s] if s in waiting else sum(1 for _ in self.claims()) for s in STATES}

    def look(self, state: State, name: str) -> Ready | Unfit | None:
        """Read a waiting file: a job, not (yet) a job, or None if it is gone.

        Raises OSError for trouble that is not the file's.
        """
        path = self.layout.entry(state, name)
        try:
            return self.examine(path, state, name)
        except FileNotFoundError:
            return None
        except (InvalidJob, OSError) as error:
            if isinstance(error, OSError) and error.errno in _WAITS_FOR_OTHERS:
                raise
            return _unfit(path, error)

    def examine(self, path: str, state: State, name: str) -> Ready:
        """Read a file that stands, or has just stood, as `name` in a state.

        Raises InvalidJob, for a file from somebody whose jobs are not run too, and OSError.
        """
        job, found = self.read(path)
        if self.trusted_owners is not None and found.st_uid not in self.trusted_owners:
            raise InvalidJob(
                f"owned by uid {found.st_uid}, who is neither the worker's user, "
                "the spool's owner nor root"
            )
        # In pending/ the id inside wins over the file's name; elsewhere we gave the name.
        wanted = (job.id if state == "pending" else None) or layout.stem(name)
        if not is_id(wanted):
            raise InvalidJob("its name is no job id, and it has none inside")
        return Ready(wanted, len(job.history), job)

    def read(self, path: str) -> tuple[Job, os.stat_result]:
        """Read a job record. Raises InvalidJob, OSError."""
        data, found = read_regular(path, MAX_RECORD_BYTES)
        if len(data) > MAX_RECORD_BYTES:
            raise InvalidJob(f"{found.st_size:,} bytes: larger than any job file")
        job = decode(data)
        if job.created_at is None:
            job = job.evolve(created_at=clock.format_timestamp(found.st_mtime))
        return job, found

    def read_run(self, place: ClaimedPlace) -> Run | None:
        """Read what a claim's run file says; None if there is none, or it did not survive."""
        path = self.layout.claim(place.worker, place.id, place.attempt, "run")
        with contextlib.suppress(OSError, msgspec.DecodeError, InvalidInput):
            run = msgspec.json.decode(read_regular(path, MAX_RECORD_BYTES)[0], type=Run)
            clock.parse_timestamp(run.started_at)  # it was not synced: a part of it may be left
            return run
        return None

    def workers(self) -> list[WorkerInfo]:
        """Read who has enrolled as a worker, the dead that nobody has recovered yet included."""
        found = []
        for name in sorted(os.listdir(self.layout.workers)):
            if layout.is_job_name(name):
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    data, _ = read_regular(self.layout.in_workers(name), 65536)
                    info = msgspec.json.decode(data, type=WorkerInfo)
                    if info.name == layout.stem(name):
                        found.append(info)
        return found

    def leftovers(self) -> Iterator[str]:
        """List the files under `tmp/`, and the logs of detached workers that are gone."""
        with os.scandir(self.layout.tmp) as entries:
            yield from (entry.path for entry in entries)
        for name in os.listdir(self.layout.workers):
            lock = self.layout.worker(name.removesuffix(".log"), "lock")
            if name.endswith(".log") and not exists(lock):
                yield self.layout.in_workers(name)

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

        That is when we last wrote it; of a file that was rejected, when we wrote the reason.
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
        """List the files that came into a state more than so many seconds ago."""
        limit = (clock.now() - seconds) * 1e9
        for when, name in self.entered(state):
            if when < limit:
                yield Place(state, layout.stem(name), self.layout.entry(state, name))


def _follows(later: Job, job: Job, place: ClaimedPlace, log: str) -> bool:
    """Whether `later` is the claimed job with what its own holder has made of it.

    All that was submitted is the same, and so is the history; what was added to it names the
    holder and the log of this very claim. A time of creation alone would not tell: it may be a
    file's mtime, which `cp -p` gives to any number of files.
    """
    before = len(job.history)
    if later.history[:before] != job.history or _submitted(later) != _submitted(job):
        return False
    if len(later.history) == before:
        return before > 0
    entry = later.history[before]
    return entry.worker == place.worker and entry.log in (None, log)


def _submitted(job: Job) -> bytes:
    """What no rewrite changes of a record, without the white space."""
    changing = ("id", "run_at", "updated_at", "attempts", "history")
    kept = {name: text for name, text in job.raw.items() if name not in changing}
    kept["created_at"] = msgspec.Raw(msgspec.json.encode(job.created_at))
    return msgspec.json.format(msgspec.json.encode(dict(sorted(kept.items()))), indent=-1)


def version_of(found: os.stat_result) -> tuple[int, ...]:
    """What stays equal while a file is the same and nobody changes it."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _unfit(path: str, error: Exception) -> Unfit | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    if stat.S_ISLNK(found.st_mode):
        reason = "is a symbolic link, not a file"
    return Unfit(reason, version_of(found), stat.S_ISREG(found.st_mode) and has_writer(path))

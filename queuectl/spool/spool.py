"""The jobs in a spool and every change of their state.

The directory a job stands in is its state, and at every instant a job is one file in one
place. A change of state is one rename. Whoever takes a job out of a state, to run it or to
change it, first claims it: renames it into `processing/HOLDER/`, where nobody else touches it
while the holder's lock is held, and from where recovery moves it on if the holder dies.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from queuectl.disk.durable import Disk, discard, discard_tree
from queuectl.disk.reading import exists, same_file
from queuectl.errors import (
    ClaimLost,
    InvalidJob,
    QueuectlError,
    SpoolUnusable,
    StillRuns,
)
from queuectl.record.ids import id_from_name, numbered
from queuectl.record.job import Job, State
from queuectl.record.retry import resume
from queuectl.record.settings import template
from queuectl.spool import layout
from queuectl.spool.publish import Delivery
from queuectl.spool.reader import UNCLAIMED, ClaimedPlace, Place, Seen, Unfit, version_of

_P = TypeVar("_P", bound=Place)


class Claim(Struct, frozen=True):
    """A job that is ours: renamed into our own directory, in its final name there."""

    worker: str
    id: str
    attempt: int
    job: Job
    origin: State
    path: str


class Spool(Delivery):
    """A spool directory. Safe to use from several threads and by any number of processes."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._claiming = threading.Lock()

    def check_private(self, *, allow_shared: bool) -> None:
        """See that nobody else may write to the spool, or trust all who may.

        Whoever may put a file into `pending/`, or a hook into the settings, runs commands as the
        worker's user.
        Raises SpoolUnusable.
        """
        if allow_shared:
            self.trusted_owners = None
            return
        for path in (self.layout.root, *self.layout.directories, self.layout.settings):
            try:
                found = os.stat(path)
            except FileNotFoundError:  # settings that nobody has made
                continue
            if found.st_uid not in (os.geteuid(), 0):
                what = f"belongs to uid {found.st_uid}"
            elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                what = f"may be written by others (mode {stat.S_IMODE(found.st_mode):03o})"
            else:
                continue
            raise SpoolUnusable(
                f"{path} {what}: whoever may write there runs commands as you; "
                "take the right away (chmod go-w) or trust them with --allow-shared"
            )

    # -- claim -----------------------------------------------------------------------------

    def claim(
        self, worker: str, state: State, name: str, seen: Seen, owed: Sequence[str] = ()
    ) -> Claim | None:
        """Take a waiting job to run it; None if another was faster, or it is not as it was seen.

        On return the claim is durable: its name alone tells owner, job and attempt. Directories
        that are `owed` a commit get it with that of the claim, before it. Raises StillRuns,
        NotDurable, InvalidJob, OSError; then nothing is claimed.
        """

        def read(path: str) -> Job | None:
            found = self.examine(path, state, name)
            as_seen = (found.id, found.attempts) == (seen.id, seen.attempts)
            return found.job if as_seen else None

        place = Place(state, seen.id, self.layout.entry(state, name))
        return self._take(worker, place, seen.attempts + 1, read, owed, to_run=True)

    def hold(self, holder: str, place: Place) -> Claim | None:
        """Take a job to change or cancel it; None if it has just moved elsewhere.

        Such a claim carries the number of an attempt that is over, so that recovery puts the job
        back and enters no attempt that never was; 0 says that it belongs into `pending/`.
        Raises InvalidJob.
        """
        try:
            attempts = len(self.read(place.path)[0].history)
        except FileNotFoundError:
            return None

        def read(path: str) -> Job | None:
            job, _ = self.read(path)
            return job if len(job.history) == attempts else None

        return self._take(holder, place, 0 if place.state == "pending" else attempts, read)

    def _take(
        self,
        worker: str,
        place: Place,
        attempt: int,
        read: Callable[[str], Job | None],
        owed: Sequence[str] = (),
        *,
        to_run: bool = False,
    ) -> Claim | None:
        """Claim a job for the attempt of a number, unless `read` does not find what was seen."""
        with self._claiming:  # the slots of this process choose one after the other
            taken = self._rename_into(worker, place, attempt)
        if taken is None:
            return None
        job_id, target, changed, runs = taken
        try:
            if to_run and any(map(self.is_held, runs)):
                raise StillRuns(f"job {job_id} still runs")
            if (job := read(target)) is not None:
                self.disk.commit(*owed, *changed)
                if job.id != job_id:
                    job = job.evolve(id=job_id)
                return Claim(worker, job_id, attempt, job, place.state, target)
        except BaseException:
            with contextlib.suppress(QueuectlError, OSError):
                self._put_back(target, place.state, job_id)
            raise
        self._put_back(target, place.state, job_id)  # rewritten since we looked: look again
        return None

    def _rename_into(
        self, worker: str, place: Place, attempt: int
    ) -> tuple[str, str, list[str], list[str]] | None:
        """Rename a job into a worker's directory, under an id that nobody else has.

        Returns the id, the path, the directories to commit, and the run files of that id that
        others have; None if the job is gone.
        """
        if not exists(place.path):  # of several workers all but one find that, at each job
            return None
        # A job that has been claimed before owns its id: only one fresh from pending/ yields.
        owners = UNCLAIMED if place.state in layout.FINISHED else UNCLAIMED[:-1]

        def free_id(path: str, claims: Callable[[str], Iterable[Place]]) -> str:
            return _free_id(place.id, path, lambda i: [*self.unclaimed(i, owners), *claims(i)])

        def ours(job_id: str) -> Iterator[Place]:
            path = self.layout.claim(worker, job_id, attempt)
            if exists(path):
                yield Place("processing", job_id, path)

        job_id = free_id(place.path, ours)
        target = self.layout.claim(worker, job_id, attempt)
        try:
            changed = self.disk.take(place.path, target)
        except FileNotFoundError:
            if exists(place.path):
                raise SpoolUnusable(f"{os.path.dirname(target)} is gone") from None
            return None
        # What others hold is looked at only now: before, they could still have taken
        # another file under this id a moment later. Whoever sees the other's yields.
        while True:
            theirs = [file for file in self.claim_files(but=worker) if file[0].id == job_id]
            claims = [other for other, ending in theirs if ending == "json"]
            if not any(_others(claims, target)):
                runs = [other.path for other, ending in theirs if ending == "run"]
                return job_id, target, changed, runs
            job_id = free_id(target, self.claims_of)
            target, before = self.layout.claim(worker, job_id, attempt), target
            changed += self.disk.take(before, target)

    def release(self, claim: Claim) -> None:
        """Put a claimed job back as it was: it was never started."""
        self._put_back(claim.path, claim.origin, claim.id)

    def put_back(self, place: ClaimedPlace) -> None:
        """Put back a claim of which no more is known: its record says where it belongs."""
        job, _ = self.read(place.path)
        policy = self.settings.last_good.retry_policy
        self._move_on(place.path, resume(job, place.attempt, policy), place.id)

    def _put_back(self, path: str, state: State, job_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._move_on(path, state, job_id)

    # -- settle ----------------------------------------------------------------------------

    def settle(
        self, claim: Claim, job: Job, target: State, *, owed: list[str] | None = None
    ) -> str:
        """Write the claimed job's new record and move it to its next state; return its id.

        Replacing the claimed file is the commit point: from then on the outcome stands, and
        recovery only moves the job on. With `owed` the directories that are yet to be committed
        are put there, and nothing may rely on the move until the caller has done so. Raises
        ClaimLost, NotDurable, OSError; if the claim still stands, settling may be tried again.
        """
        if not exists(claim.path):
            raise ClaimLost(f"{claim.path} is gone: another took job {claim.id} over")
        self.disk.overwrite(claim.path, job.encode(), staged=self.layout.staged())
        return self._move_on(claim.path, target, claim.id, owed)

    def pass_on(self, claim: Claim, target: State) -> str:
        """Move a claimed job, as its record stands, to a state; return the id it has there."""
        return self._move_on(claim.path, target, claim.id)

    def _move_on(self, path: str, state: State, wanted: str, owed: list[str] | None = None) -> str:
        """Move a file to a state, never over another job; return the id it has there."""
        number, job_id = 1, wanted
        while True:
            target = self.layout.job(state, job_id)
            try:
                changed = self.disk.move(path, target)
            except FileExistsError:
                if same_file(path, target):  # two names of one file: the earlier one goes
                    self.disk.remove(path)
                    return job_id
                number += 1
                job_id = numbered(wanted, number)
            else:
                if owed is None:
                    self.disk.commit(*changed)
                else:
                    owed += self.disk.commit_later(*changed)
                return job_id

    def reject(
        self, path: str, reason: str, *, wanted: str | None = None, seen: Unfit | None = None
    ) -> str | None:
        """Move a file that is no job to `dead/`, untouched, and write the reason beside it.

        Returns the id it is kept under; None if it is gone, or is not the file that was `seen`
        but another that was given its name meanwhile. Raises OSError.
        """
        name = wanted or _shown_name(path)
        try:
            job_id = self._move_on(path, "dead", self.id_for_reject(path, wanted))
        except FileNotFoundError:
            return None
        kept = self.layout.job("dead", job_id)
        if seen is not None and version_of(os.lstat(kept)) != seen.version:
            with contextlib.suppress(FileExistsError):  # then it stays, and is told of as dead
                self.disk.commit(*self.disk.move(kept, path))
                return None
        if job_id != name:
            reason += f" (dropped as {name!r})"
        self.write_reason(job_id, reason)
        return job_id

    def id_for_reject(self, path: str, wanted: str | None = None) -> str:
        """Return the id under which a file that is no job is kept in `dead/`."""
        return _free_id(id_from_name(wanted or _shown_name(path)), path, self.places)

    def write_reason(self, job_id: str, reason: str) -> None:
        """Write why a file in `dead/` is no valid job."""
        self.write_beside(self.layout.reason(job_id), f"{reason}\n".encode())

    def renumber(self, place: Place) -> str:
        """Give an unclaimed job whose id stands in another place too the next free number."""
        job_id = _free_id(place.id, place.path, self.places)
        self.disk.publish(place.path, self.layout.job(place.state, job_id))
        return job_id

    # -- remove ----------------------------------------------------------------------------

    def purge(self, places: Iterable[Place]) -> int:
        """Remove jobs for good, with their logs and reasons; return how many there were.

        The rename into `tmp/` decides: a job that somebody retried first is left alone.
        """
        count = 0
        for place in places:
            gone = self.layout.staged()
            try:
                self.disk.take(place.path, gone)
            except FileNotFoundError:
                continue
            self._remove_logs(place.id, gone)
            discard(self.layout.reason(place.id))
            discard_tree(gone)
            count += 1
        return count

    def _remove_logs(self, job_id: str, path: str) -> None:
        with contextlib.suppress(InvalidJob, OSError):
            for entry in self.read(path)[0].history:
                discard(self.layout.log(job_id, entry.attempt))


def open_spool(root: str, *, create: bool) -> Spool:
    """Open a spool, making what is missing of it. Raises SpoolUnusable, InvalidSetting.

    Without `create` a directory that is no spool is refused; with it a missing or empty one
    becomes a spool, private to its user.
    """
    root = os.path.abspath(root)
    marks = layout.Layout(root).marks
    if not any(map(os.path.exists, marks)):
        if not create:
            raise SpoolUnusable(f"there is no spool at {root}: `queuectl enqueue` makes one")
        try:
            if exists(root) and not os.path.isdir(root):
                raise FileExistsError
            if os.path.isdir(root) and os.listdir(root) and not any(map(os.path.exists, marks)):
                raise SpoolUnusable(f"{root} is not a spool, and not empty: name another directory")
            os.makedirs(os.path.dirname(root), exist_ok=True)
            Disk().make_dir(root, 0o700)
        except (FileExistsError, NotADirectoryError):
            raise SpoolUnusable(f"{root} is not a directory") from None
    spool = Spool(root)
    spool.make_directories()
    if not exists(spool.layout.settings):
        staged = spool.layout.staged()
        spool.disk.write(staged, template().encode())
        with contextlib.suppress(FileExistsError):
            spool.disk.publish(staged, spool.layout.settings)
        discard(staged)
    return spool


def _shown_name(path: str) -> str:
    """A file's name without `.json`, as it can be written: it may be no text."""
    return os.fsencode(layout.stem(os.path.basename(path))).decode(errors="replace")


def _others(places: Iterable[_P], path: str) -> Iterator[_P]:
    """Those of the places that are another file than the one at `path`."""
    return (place for place in places if not same_file(place.path, path))


def _free_id(wanted: str, path: str, rivals: Callable[[str], Iterable[Place]]) -> str:
    """Return the id for the file at `path`, or ID.2, ID.3...: the first without a rival."""
    number, job_id = 1, wanted
    while any(_others(rivals(job_id), path)):
        number += 1
        job_id = numbered(wanted, number)
    return job_id

"""Every change of state of a job that is in the spool: claim, settle, put back.

The directory that a job is in is its state, and at every instant a job is one file in one place. A
change of state is one rename. Whoever takes a job out of a state, to run it or to change it, first
claims it: renames it into `processing/HOLDER/`, where nobody else touches it while the holder's
lock is held, and from where recovery moves it on if the holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct

from queuectl.disk.durable import Disk
from queuectl.disk.reading import exists, same_file
from queuectl.errors import ClaimLost, QueuectlError, SpoolUnusable, StillRuns
from queuectl.record.ids import numbered
from queuectl.record.job import Job, State
from queuectl.spool.places import FINISHED, UNCLAIMED, Claim, ClaimedPlace, Place, Seen
from queuectl.spool.reader import Reader

_P = TypeVar("_P", bound=Place)

_MOVES: Final[tuple[State, ...]] = ("pending", "failed", "completed", "dead")
"""The states of unclaimed jobs, in the order in which jobs move."""


class Moved(Struct, frozen=True):
    """A job that has been moved: the id it has now, and the directories still to be committed.

    Nothing may rely on the move until `Disk.commit(*owed)` has returned.
    """

    id: str
    owed: list[str]


class _Taken(Struct, frozen=True):
    """A job that was renamed into the holder's directory: nothing is committed or read yet."""

    id: str
    path: str
    changed: list[str]
    runs: list[str]


class Claims:
    """The claims of a spool. Safe to use from several threads and by any number of processes."""

    def __init__(self, reader: Reader, disk: Disk) -> None:
        self._reader = reader
        self._layout = reader.layout
        self._disk = disk
        self._choosing = threading.Lock()

    # -- claim -----------------------------------------------------------------------------

    def take(
        self, worker: str, state: State, name: str, seen: Seen, owed: Sequence[str] = ()
    ) -> Claim | None:
        """Claim a waiting job to run it; None if another was faster, or the job has changed.

        On return the claim is durable: its name alone tells owner, job and attempt. Directories
        that are `owed` a commit get it with the claim's commit, before the claim's own. Raises
        StillRuns, NotDurable, InvalidJob, OSError; then nothing is claimed.
        """

        def read(path: str) -> Job | None:
            found = self._reader.examine(path, state, name)
            as_seen = (found.id, found.attempts) == (seen.id, seen.attempts)
            return found.job if as_seen else None

        place = Place(state, seen.id, self._layout.entry(state, name))
        return self._claim(worker, place, seen.attempts + 1, read, owed, to_run=True)

    def hold(self, holder: str, place: Place) -> Claim | None:
        """Claim a job to change or cancel it; None if it has just moved elsewhere.

        The claim carries the number of an attempt that is over, so that recovery puts the job back
        and enters no attempt that never was; 0 means that the job belongs in `pending/`.
        Raises InvalidJob.
        """
        try:
            attempts = len(self._reader.read(place.path)[0].history)
        except FileNotFoundError:
            return None

        def read(path: str) -> Job | None:
            job, _ = self._reader.read(path)
            return job if len(job.history) == attempts else None

        return self._claim(holder, place, 0 if place.state == "pending" else attempts, read)

    def _claim(
        self,
        worker: str,
        place: Place,
        attempt: int,
        read: Callable[[str], Job | None],
        owed: Sequence[str] = (),
        *,
        to_run: bool = False,
    ) -> Claim | None:
        """Claim a job for an attempt, unless `read` finds it changed after the rename."""
        with self._choosing:  # the slots of this process choose one after the other
            taken = self._rename_into(worker, place, attempt)
        if taken is None:
            return None
        try:
            if to_run and (held := next(filter(self._reader.is_running, taken.runs), None)):
                raise StillRuns(f"job {taken.id} still runs", held)
            if (job := read(taken.path)) is not None:
                self._disk.commit(*owed, *taken.changed)
                if job.id != taken.id:
                    job = job.evolve(id=taken.id)
                return Claim(worker, taken.id, attempt, job, place.state, taken.path)
        except BaseException:
            with contextlib.suppress(QueuectlError, OSError):
                self._put_back(taken.path, place.state, taken.id)
            raise
        self._put_back(taken.path, place.state, taken.id)  # rewritten since it was seen
        return None

    def _rename_into(self, worker: str, place: Place, attempt: int) -> _Taken | None:
        """Rename a job into a worker's directory, under an id that no other job has.

        Returns None if the job is gone. The run files are those of the same id, anybody's.
        """
        if not exists(place.path):  # true for all workers but one, at each job
            return None

        def rivals(job_id: str, claimants: str | None = None) -> Iterator[Place]:
            yield from self._unclaimed_owners(job_id, place.state)
            yield from self._reader.claims_of(job_id, claimants)

        job_id = free_id(place.id, place.path, partial(rivals, claimants=worker))
        target = self._layout.claim(worker, job_id, attempt)
        if same_file(target, place.path):  # it has two names just now, and will have one
            raise OSError(errno.EBUSY, "another slot is putting it back", place.path)
        try:
            changed = self._disk.take(place.path, target)
        except FileNotFoundError:
            if exists(place.path):
                raise SpoolUnusable(f"{os.path.dirname(target)} is missing") from None
            return None
        # What others hold is looked at only now: before the rename, they could still have taken
        # another file under this id a moment later. Whoever sees the other's claim yields.
        while True:
            files = [file for file in self._reader.claim_files() if file[0].id == job_id]
            claims = [other for other, ending in files if ending == "json"]
            if not any(_others(claims, target)):
                runs = [other.path for other, ending in files if ending == "run"]
                return _Taken(job_id, target, changed, runs)
            job_id = free_id(place.id, target, rivals)
            target, before = self._layout.claim(worker, job_id, attempt), target
            changed += self._disk.take(before, target)

    def _unclaimed_owners(self, job_id: str, origin: State) -> Iterator[Place]:
        """List the unclaimed jobs that own an id which a job from state `origin` asks for.

        A job that has been claimed before owns its id: only a new one from `pending/` yields.
        """
        return self._reader.unclaimed(job_id, UNCLAIMED if origin in FINISHED else UNCLAIMED[:-1])

    # -- settle ----------------------------------------------------------------------------

    def settle(self, claim: Claim, record: Job, target: State) -> Moved:
        """Write the claimed job's new record, and move the job to its next state.

        Raises ClaimLost, NotDurable, OSError; while the claim exists, it may be tried again.
        """
        try:
            # The commit point: from here on the outcome is on record, and recovery only moves the
            # job on.
            self._disk.renew(claim.path, record.encode(), staged=self._layout.staged())
            return self.move_on(claim.path, target, claim.id)
        except FileNotFoundError:
            if exists(claim.path):  # a directory is missing
                raise
            reason = f"{claim.path} is gone: job {claim.id} was moved or recovered"
            raise ClaimLost(reason) from None

    def move_on(self, path: str, state: State, wanted: str) -> Moved:
        """Move a file to a state under the id `wanted`, or the next free one; never over a job."""
        number, job_id = 1, wanted
        while True:
            target = self._layout.job(state, job_id)
            try:
                changed = self._disk.move(path, target)
            except FileExistsError:
                if same_file(path, target):  # a move that was cut in two: the caller owns `path`
                    self._disk.remove(path)
                    return Moved(job_id, [])
                number += 1
                job_id = numbered(wanted, number)
            else:
                return Moved(job_id, self._disk.commit_later(*changed))

    # -- put back --------------------------------------------------------------------------

    def release(self, claim: Claim) -> None:
        """Put a claimed job back as it was: it was never started."""
        self._put_back(claim.path, claim.origin, claim.id)

    def put_back(self, place: ClaimedPlace, state: State) -> None:
        """Put a claim back into a state."""
        self._disk.commit(*self.move_on(place.path, state, place.id).owed)

    def _put_back(self, path: str, state: State, job_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._disk.commit(*self.move_on(path, state, job_id).owed)


def name_to_remove(one: Place, other: Place, *, dead: str | None = None) -> Place | None:
    """Return which of two names of one job's file goes; None if that is not for the caller to do.

    A job has two names between the link and the unlink of a move, or after a move that was cut in
    two. The name under `processing/` goes only if its holder is dead: a running one finishes its
    move itself, and the other name is then the only one. Of two other names the one in the earlier
    state goes. `dead` is a dead holder whose lock the caller has.
    """
    if not same_file(one.path, other.path) or one.path == other.path:
        return None
    claims = [place for place in (one, other) if place.state == "processing"]
    if claims:
        left = [p for p in claims if isinstance(p, ClaimedPlace) and p.worker == dead]
        return min(left, key=lambda place: place.attempt, default=None)
    return min(one, other, key=lambda place: _MOVES.index(place.state))


def free_id(wanted: str, path: str, rivals: Callable[[str], Iterable[Place]]) -> str:
    """Return the id for the file at `path`: `wanted`, or ID.2, ID.3...: the first without a rival.

    `rivals` lists the places of an id; the file itself is not its own rival.
    """
    number, job_id = 1, wanted
    while any(_others(rivals(job_id), path)):
        number += 1
        job_id = numbered(wanted, number)
    return job_id


def _others(places: Iterable[_P], path: str) -> Iterator[_P]:
    """List those of the places that are another file than the one at `path`."""
    return (place for place in places if not same_file(place.path, path))

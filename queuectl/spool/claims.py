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
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from queuectl import slot_lock
from queuectl.disk.durable import Disk
from queuectl.disk.locks import locked
from queuectl.disk.reading import exists, same_file
from queuectl.errors import ClaimLost, IdsBusy, QueuectlError, SpoolUnusable, StillRuns
from queuectl.record.ids import numbered
from queuectl.record.job import Job, State
from queuectl.spool import layout
from queuectl.spool.places import FINISHED, UNCLAIMED, Claim, ClaimedPlace, Place, Ready, Seen
from queuectl.spool.reader import Reader, wanted_id

_PATIENCE = 0.1
"""Seconds to wait for the lock under which ids are chosen; `enqueue` of a batch takes longer."""

_MOVES: Final[tuple[State, ...]] = ("pending", "failed", "completed", "dead")
"""The states of unclaimed jobs, in the order in which jobs move."""


class Moved(Struct, frozen=True):
    """A job that has been moved: the id it has now, and the directories still to be committed.

    Nothing may rely on the move until `Disk.commit(*owed)` has returned.
    """

    id: str
    owed: list[str]


class _Wish(Struct, frozen=True):
    """A job that a holder wants to claim for an attempt; `has_in_hand` is that of `take`."""

    worker: str
    place: Place
    attempt: int
    has_in_hand: Callable[[str], bool] = lambda _: False


class _Taken(Struct, frozen=True):
    """A job that was renamed into the holder's directory: nothing is committed or read yet.

    `runs` are the run files, anybody's, that have no claim beside them.
    """

    id: str
    path: str
    changed: list[str]
    runs: list[ClaimedPlace]


class _Naming:
    """The lock under which ids are chosen, from the moment that it is needed."""

    def __init__(self, path: str, mode: int) -> None:
        self._path, self._mode = path, mode
        self._held = contextlib.ExitStack()
        self._begun = False

    def __enter__(self) -> _Naming:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin(self) -> None:
        """Take the lock, if that has not been done yet. Raises IdsBusy."""
        if not self._begun:
            try:
                self._held.enter_context(locked(self._path, self._mode, _PATIENCE))
            except QueuectlError as error:
                raise IdsBusy(str(error)) from None
            self._begun = True


class Claims:
    """The claims of a spool. Safe to use from several threads and by any number of processes."""

    def __init__(self, reader: Reader, disk: Disk) -> None:
        self._reader = reader
        self._layout = reader.layout
        self._disk = disk
        self._choosing = threading.Lock()

    # -- claim -----------------------------------------------------------------------------

    def take(
        self,
        worker: str,
        state: State,
        name: str,
        seen: Seen,
        owed: Sequence[str] = (),
        has_in_hand: Callable[[str], bool] = lambda _: False,
    ) -> Claim | None:
        """Claim a waiting job to run it; None if another was faster, or the job has changed.

        On return the claim is durable: its name alone tells owner, job and attempt. Directories
        that are `owed` a commit get it with the claim's commit, before the claim's own.
        `has_in_hand(path)` says whether the worker is running a claim of this path already: its
        file may have been moved away, and be the one to be claimed. Raises StillRuns, IdsBusy,
        NotDurable, InvalidJob, OSError; then nothing is claimed.
        """

        def read(path: str) -> Ready | None:
            found = self._reader.examine(path, state, name)
            return found if (found.id, found.attempts) == (seen.id, seen.attempts) else None

        place = Place(state, seen.id, self._layout.entry(state, name))
        return self._claim(_Wish(worker, place, seen.attempts + 1, has_in_hand), read, owed)

    def hold(self, holder: str, place: Place) -> Claim | None:
        """Claim a job to change or cancel it; None if it has just moved elsewhere.

        The claim carries the number of an attempt that is over, so that recovery puts the job back
        and enters no attempt that never was; 0 means that the job belongs in `pending/`.
        Raises InvalidJob, StillRuns, IdsBusy.
        """
        try:
            before, _ = self._reader.read(place.path)
        except FileNotFoundError:
            return None
        wanted = wanted_id(before, place.state, os.path.basename(place.path))
        attempts = len(before.history)

        def read(path: str) -> Ready | None:
            job, found = self._reader.read(path)
            ready = Ready(wanted, attempts, job, found.st_ino)
            return ready if len(job.history) == attempts else None

        place = Place(place.state, wanted, place.path)
        attempt = 0 if place.state == "pending" else attempts
        return self._claim(_Wish(holder, place, attempt), read)

    def _claim(
        self, wish: _Wish, read: Callable[[str], Ready | None], owed: Sequence[str] = ()
    ) -> Claim | None:
        """Claim a job, unless `read` finds it changed after the rename."""
        with slot_lock.acquired(self._choosing):  # this process's slots choose one after the other
            taken = self._rename_into(wish)
        if taken is None:
            return None
        origin, home = wish.place.state, taken.id
        try:
            if found := read(taken.path):
                if run := self._run_of(taken, found):
                    home = run.id
                    raise StillRuns(_still_runs(run.id), run.path)
                self._disk.commit(*owed, *taken.changed)
                job = found.job if found.job.id == taken.id else found.job.evolve(id=taken.id)
                path, inode = taken.path, found.inode
                return Claim(wish.worker, taken.id, wish.attempt, job, origin, path, inode)
        except BaseException:
            with contextlib.suppress(QueuectlError, OSError):
                self._put_back(taken.path, origin, home)
            raise
        self._put_back(taken.path, origin, home)  # rewritten since it was seen
        return None

    def _rename_into(self, wish: _Wish) -> _Taken | None:
        """Rename a job into a worker's directory, under an id that no other job has.

        Returns None if the job is gone. Raises StillRuns, IdsBusy.
        """
        source = wish.place.path
        if not exists(source):  # true for all workers but one, at each job
            return None
        with _Naming(self._layout.id_lock, self._disk.file_mode) as naming:
            job_id = self._choose_id(wish, source, naming, wish.worker)
            target = self._layout.claim(wish.worker, job_id, wish.attempt)
            if wish.has_in_hand(target):
                run_file = self._layout.claim(wish.worker, job_id, wish.attempt, "run")
                raise StillRuns(_still_runs(job_id), run_file)
            if same_file(target, source):  # it has two names just now, and will have one
                raise OSError(errno.EBUSY, "another slot is putting it back", source)
            try:
                changed = self._disk.take(source, target)
            except FileNotFoundError:
                if exists(source):
                    raise SpoolUnusable(f"{os.path.dirname(target)} is missing") from None
                return None
            try:
                return self._yield_to_others(wish, _Taken(job_id, target, changed, []), naming)
            except BaseException:
                with contextlib.suppress(QueuectlError, OSError):
                    self._put_back(target, wish.place.state, job_id)
                raise

    def _yield_to_others(self, wish: _Wish, taken: _Taken, naming: _Naming) -> _Taken:
        """Give a taken job another id as long as somebody else has a claim of its id.

        What others hold is looked at only after the rename: before, they could still have taken
        another file under this id a moment later. Whoever sees the other's claim yields.
        """
        while True:
            files = [*self._reader.claim_files()]
            claims = [place for place, end in files if end == "json" and place.path != taken.path]
            if all(claim.id != taken.id for claim in claims):
                return replace(taken, runs=_without_claim(files, claims))
            job_id = self._choose_id(wish, taken.path, naming)
            path = self._layout.claim(wish.worker, job_id, wish.attempt)
            taken = _Taken(job_id, path, taken.changed + self._disk.take(taken.path, path), [])

    def _choose_id(
        self, wish: _Wish, path: str, naming: _Naming, claimants: str | None = None
    ) -> str:
        """Return the id under which to claim the file at `path`: the first one without a rival.

        Under its own name a waiting job yields to no file in `pending/`. A job that needs another
        name takes no id that any file has, or that is being chosen.
        """
        place = wish.place
        own = layout.stem(os.path.basename(place.path))

        def rivals(job_id: str) -> Iterator[Place]:
            all_own = job_id != own or place.state in FINISHED
            yield from self._reader.unclaimed(job_id, UNCLAIMED if all_own else UNCLAIMED[:-1])
            yield from self._reader.claims_of(job_id, claimants)

        job_id = free_id(place.id, path, rivals)
        if job_id != own:
            naming.begin()
            job_id = free_id(place.id, path, rivals)
        return job_id

    def _run_of(self, taken: _Taken, found: Ready) -> ClaimedPlace | None:
        """Return the run of a job that was moved away by hand and whose command is still alive.

        The job's file tells by its inode which run is its own, also under another name. That is
        looked up only where the id does not tell: its own id is in most records.
        """
        for run in taken.runs:
            if run.id != taken.id:
                if found.job.id == taken.id and not run.id.startswith(taken.id):
                    continue
                about = self._reader.read_run(run)
                if about is None or about.inode != found.inode:
                    continue
            if self._reader.is_running(run.path):
                return run
        return None

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
    while not all(same_file(rival.path, path) for rival in rivals(job_id)):
        number += 1
        job_id = numbered(wanted, number)
    return job_id


def _still_runs(job_id: str) -> str:
    return f"job {job_id} still runs, though its file was moved away: wait for its command's end"


def _without_claim(
    files: Iterable[tuple[ClaimedPlace, str]], claims: Iterable[ClaimedPlace]
) -> list[ClaimedPlace]:
    """Return the run files whose job is no longer beside them."""
    held = {(claim.worker, claim.id, claim.attempt) for claim in claims}
    return [p for p, end in files if end == "run" and (p.worker, p.id, p.attempt) not in held]

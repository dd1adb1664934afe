"""Who holds claims, and what becomes of the claims of the dead.

Whoever holds claims keeps the lock on `workers/NAME.lock` for life; the kernel lets go of it
when the process ends, however it ends. Whoever can take that lock knows the holder is dead: no
pid, clock or heartbeat decides it. Recovery is idempotent and may be done by all at once: the
dead holder's lock lets one in at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

import msgspec

from queuectl import clock, layout, markers, process, retry
from queuectl.errors import InvalidJob, QueuectlError
from queuectl.fsio import discard, make_locked, try_lock
from queuectl.fsread import stands
from queuectl.job import Attempt, Run, WorkerInfo
from queuectl.lookup import ClaimedPlace
from queuectl.markers import Heir
from queuectl.spool import Claim, Spool

log = logging.getLogger(__name__)


class Holder:
    """A process's right to hold claims, from its start to its end.

    `info` makes it a worker that is listed; without it, it is a command that takes a job for
    a moment to change it.
    """

    def __init__(self, spool: Spool, info: WorkerInfo | None = None) -> None:
        self.spool = spool
        self.name = info.name if info else layout.new_worker(process.hostname(), os.getpid())
        paths = spool.layout
        self._lock = make_locked(
            paths.worker(self.name, "lock"), paths.staged(), spool.disk.file_mode
        )
        try:
            if info:
                spool.write_beside(paths.worker(self.name, "json"), encode(info))
            spool.disk.make_dir(paths.claims(self.name), spool.dir_mode)
        except BaseException:
            self.leave()
            raise

    def stands(self) -> bool:
        """Whether the lock is still ours for all to see: if not, others take us for dead."""
        path = self.spool.layout.worker(self.name, "lock")
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._lock))
        except FileNotFoundError:
            return False

    def leave(self) -> None:
        """Give the right up; claims that are still there are left to recovery."""
        with contextlib.suppress(FileNotFoundError, OSError):
            _strike_off(self.spool, self.name)
        os.close(self._lock)

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def encode(record: Run | WorkerInfo) -> bytes:
    """Write a small record as people read it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def cookie(worker: str, job_id: str, run: Run) -> str:
    """Return the QUEUECTL_RUN that the processes of this run, and of no other, carry."""
    return f"{worker}.{job_id}.{run.attempt}.{run.started_at}"


def dead_holders(spool: Spool, *, make_locks: bool = True) -> Iterator[str]:
    """Name the dead who left something, each while its lock is ours.

    The lock is let go when the next one is asked for. One that somebody has removed is made,
    and goes again if the holder has only just left; for who only looks it is not.
    """
    locks = {
        name.removesuffix(".lock")
        for name in os.listdir(spool.layout.workers)
        if name.endswith(".lock")
    }
    claimants = set(spool.claimants())
    for name in sorted(locks | claimants):
        path = spool.layout.worker(name, "lock")
        if name not in locks and not make_locks:
            if os.path.isdir(spool.layout.claims(name)) and not stands(path):
                yield name
            continue
        try:
            lock = try_lock(path, make_with=None if name in locks else spool.disk.file_mode)
        except OSError:
            continue
        if lock is None:
            continue
        try:
            if name in locks or os.path.isdir(spool.layout.claims(name)):
                yield name
            else:
                discard(path)
        finally:
            os.close(lock)


def recover(spool: Spool, *, grace: float, draw: float, heir: Heir | None = None) -> list[str]:
    """Move on the jobs of all dead holders; return the ids of the jobs that were moved.

    Their leftover processes are ended first, `grace` seconds between SIGTERM and SIGKILL;
    `draw` is the lot for the backoff's jitter. What cannot be moved on yet (a process on
    another host still runs, or will not die; the disk is full) is left for the next time.
    Their hooks become the `heir`'s; without one they wait for the next worker.
    """
    moved = []
    for name in dead_holders(spool):
        for place in list(spool.claims(name)):
            try:
                if job_id := _recover(spool, place, grace, draw):
                    moved.append(job_id)
            except (OSError, QueuectlError) as error:
                log.error("job %s of dead worker %s cannot be recovered: %s", place.id, name, error)
        try:
            if heir is not None:
                markers.take_over(spool, name, heir)
        except (OSError, QueuectlError) as error:
            log.error("hooks of dead worker %s cannot be taken over: %s", name, error)
        with contextlib.suppress(OSError):
            moved_away = [place for place in spool.runs(name) if _is_unsettled(spool, place)]
            if all(_nothing_runs(spool, place, grace) for place in moved_away):
                _strike_off(spool, name)
                if heir is not None:
                    heir.inherit([])
    return moved


def _recover(spool: Spool, place: ClaimedPlace, grace: float, draw: float) -> str | None:
    policy = spool.settings.last_good.retry_policy
    try:
        job, _ = spool.read(place.path)
    except FileNotFoundError:
        return None
    except InvalidJob as error:
        markers.void(spool, place, None)
        markers.put_for_reject(spool, place.worker, place.path, str(error), place)
        return spool.reject(place.path, str(error), wanted=place.id)
    if spool.superseded(place, job):
        spool.disk.remove(place.path)
        return None
    job = job.evolve(id=place.id)
    claim = Claim(place.worker, place.id, place.attempt, job, "processing", place.path)
    if len(job.history) >= place.attempt:
        target = retry.resume(job, place.attempt, policy)
        markers.renew(spool, claim, target)
        return spool.pass_on(claim, target)
    run = spool.read_run(place)
    if not _nothing_runs(spool, place, grace):
        return None
    now = clock.now()
    cancel = spool.layout.claim(place.worker, place.id, place.attempt, "cancel")
    entry = Attempt(
        attempt=place.attempt,
        outcome="cancelled" if stands(cancel) else "lost",
        error="its worker died before the outcome was on disk",
        worker=place.worker,
        host=run.host if run else None,
        started_at=run.started_at if run else None,
        finished_at=clock.format_timestamp(now),
        log=spool.layout.relative(spool.layout.log(place.id, place.attempt)),
    )
    record, target = retry.conclude(job, entry, policy, now=now, draw=draw)
    log.warning("job %s was lost with worker %s: %s", place.id, place.worker, target)
    markers.void(spool, place, job)
    markers.put_for(spool, claim, record, target, spool.settings.last_good)
    return spool.settle(claim, record, target)


def _is_unsettled(spool: Spool, run: ClaimedPlace) -> bool:
    """Whether a run file is that of a job that was moved away by hand while it ran.

    One whose outcome is written has nothing running but what it left on purpose.
    """
    for place in spool.places(run.id):
        with contextlib.suppress(InvalidJob, FileNotFoundError):
            if len(spool.read(place.path)[0].history) < run.attempt:
                return True
    return False


def _nothing_runs(spool: Spool, place: ClaimedPlace, grace: float) -> bool:
    """End what is left of a dead worker's command; True when nothing of it can be running."""
    run = spool.read_run(place)
    path = spool.layout.claim(place.worker, place.id, place.attempt, "run")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return True  # the run file is made before the command is started
    here = (process.hostname(), process.boot_id())
    if run and (run.host, run.boot_id) == here:
        led = run.pid is not None and process.leads(run.pid, found.st_mtime)
        marks = process.Marks(
            cookie(place.worker, place.id, run),
            (found.st_dev, found.st_ino),
            group=run.pid if led else None,
        )
        if not process.end(marks, grace, pause=time.sleep):
            log.error("what job %s left running will not die: waiting for its end", place.id)
            return False
    try:
        lock = try_lock(path)
    except FileNotFoundError:
        return True
    if lock is None:
        log.warning("job %s still runs on %s: waiting for its end", place.id, run and run.host)
        return False
    os.close(lock)
    return True


def _strike_off(spool: Spool, name: str) -> None:
    """Remove all traces of a holder whose claims are settled; the lock goes last.

    Raises OSError if claims are left, or hooks that were not run.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rmdir(spool.layout.hooks(name))
    directory = spool.layout.claims(name)
    if os.path.isdir(directory):
        files = [layout.parse_claim(file) for file in os.listdir(directory)]
        jobs = {parts[:2] for parts in files if parts and parts[2] == "json"}
        for parts in files:
            if parts and parts[2] != "json" and parts[:2] not in jobs:
                discard(spool.layout.claim(name, *parts))
        os.rmdir(directory)
    for ending in ("stop", "json", "lock"):
        discard(spool.layout.worker(name, ending))

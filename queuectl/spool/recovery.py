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

from queuectl import clock, host
from queuectl.disk.locks import try_lock
from queuectl.disk.reading import exists
from queuectl.errors import InvalidJob, QueuectlError
from queuectl.process import survivors
from queuectl.record import retry
from queuectl.record.job import Attempt
from queuectl.record.running import cookie
from queuectl.spool import hook_markers
from queuectl.spool.holder import dead_holders, strike_off
from queuectl.spool.hook_markers import Heir
from queuectl.spool.reader import ClaimedPlace
from queuectl.spool.spool import Claim, Spool

log = logging.getLogger(__name__)


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
                hook_markers.take_over(spool, name, heir)
        except (OSError, QueuectlError) as error:
            log.error("hooks of dead worker %s cannot be taken over: %s", name, error)
        with contextlib.suppress(OSError):
            moved_away = [place for place in spool.runs(name) if _is_unsettled(spool, place)]
            if all(_nothing_runs(spool, place, grace) for place in moved_away):
                strike_off(spool, name)
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
        hook_markers.void(spool, place, None)
        hook_markers.put_for_reject(spool, place.worker, place.path, str(error), place)
        return spool.reject(place.path, str(error), wanted=place.id)
    if spool.superseded(place, job):
        spool.disk.remove(place.path)
        return None
    job = job.evolve(id=place.id)
    claim = Claim(place.worker, place.id, place.attempt, job, "processing", place.path)
    if len(job.history) >= place.attempt:
        target = retry.resume(job, place.attempt, policy)
        hook_markers.renew(spool, claim, target)
        return spool.pass_on(claim, target)
    run = spool.read_run(place)
    if not _nothing_runs(spool, place, grace):
        return None
    now = clock.now()
    cancel = spool.layout.claim(place.worker, place.id, place.attempt, "cancel")
    entry = Attempt(
        attempt=place.attempt,
        outcome="cancelled" if exists(cancel) else "lost",
        error="its worker died before the outcome was on disk",
        worker=place.worker,
        host=run.host if run else None,
        started_at=run.started_at if run else None,
        finished_at=clock.format_timestamp(now),
        log=spool.layout.relative(spool.layout.log(place.id, place.attempt)),
    )
    record, target = retry.conclude(job, entry, policy, now=now, draw=draw)
    log.warning("job %s was lost with worker %s: %s", place.id, place.worker, target)
    hook_markers.void(spool, place, job)
    hook_markers.put_for(spool, claim, record, target, spool.settings.last_good)
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
    here = (host.hostname(), host.boot_id())
    if run and (run.host, run.boot_id) == here:
        led = run.pid is not None and survivors.leads(run.pid, found.st_mtime)
        marks = survivors.Marks(
            cookie(place.worker, place.id, run),
            (found.st_dev, found.st_ino),
            group=run.pid if led else None,
        )
        if not survivors.end(marks, grace, pause=time.sleep):
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

"""What becomes of the jobs of dead holders.

Recovery is idempotent, and any number of processes may do it at once: a holder's lock lets
in one at a time. A job whose outcome is on record is only moved on. Otherwise what is left of its
command is ended first, and the attempt is entered as lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from queuectl import clock, host
from queuectl.disk.locks import is_locked
from queuectl.disk.reading import same_file
from queuectl.errors import InvalidJob, QueuectlError
from queuectl.process import survivors
from queuectl.record import retry
from queuectl.record.ids import is_id, numbered
from queuectl.record.job import Attempt, Job, State
from queuectl.record.running import cookie
from queuectl.spool import cancels, hook_markers, hook_recovery, layout
from queuectl.spool.claims import name_to_remove
from queuectl.spool.holder import dead_holders, remove_holder
from queuectl.spool.hook_recovery import Heir
from queuectl.spool.places import UNCLAIMED, Claim, ClaimedPlace, Place
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool

log = logging.getLogger(__name__)

Report = Callable[[Attempt | None, State], None]

_PATIENCE = 1.0
"""Seconds after SIGKILL: a process that has not ended by then is looked at in the next round."""


def recover(
    spool: Spool,
    *,
    grace: float,
    draw: float,
    heir: Heir | None = None,
    stopping: Callable[[], bool] = lambda: False,
    report: Report = lambda _entry, _target: None,
) -> list[str]:
    """Move on the jobs of all dead holders; return the ids of the jobs that were moved.

    Their leftover processes are ended first, `grace` seconds between SIGTERM and SIGKILL. `draw`,
    in [0, 1), is the random number of the backoff's jitter. What cannot be moved on yet (a process
    on another host still runs, or cannot be killed; the disk is full) is left for the next time.
    Once `stopping()` is true, everything that is not done yet is left, also in the middle of a
    grace. The `heir` takes over their hooks; without one they wait for the next worker. `report`
    is called for each job that was moved, with its last attempt, None if its file is not a valid
    job, and with its new state.
    """
    moved: list[str] = []
    ends = partial(_end_processes, spool, grace=grace, stopping=stopping)
    for name in dead_holders(spool):
        for place in list(spool.reader.claims(name)):
            if stopping():
                return moved
            try:
                if job_id := _recover(spool, place, ends, draw, report):
                    moved.append(job_id)
            except (OSError, QueuectlError) as error:
                log.error("job %s of dead worker %s cannot be recovered: %s", place.id, name, error)
        if stopping():
            return moved
        try:
            if heir is not None:
                hook_recovery.take_over(spool, name, heir)
        except (OSError, QueuectlError) as error:
            log.error("hooks of dead worker %s cannot be taken over: %s", name, error)
        with contextlib.suppress(OSError):
            moved_away = [run for run in spool.reader.runs(name) if _is_unsettled(spool, run)]
            if all(map(ends, moved_away)):
                remove_holder(spool, name)
                if heir is not None:
                    heir.inherit([])
    return moved


def _recover(
    spool: Spool,
    place: ClaimedPlace,
    ends: Callable[[ClaimedPlace], bool],
    draw: float,
    report: Report,
) -> str | None:
    """Move on one job of a dead holder; return its id, None if it cannot or need not be moved.

    `ends` ends what is left of its command, and tells whether nothing is.
    """
    try:
        job, _ = spool.reader.read(place.path)
    except FileNotFoundError:
        return None
    except InvalidJob as error:
        hook_recovery.withdraw(spool, place, None)
        hook_markers.put_for_reject(spool, place.worker, place.path, str(error), place)
        kept = reject(spool, place.path, str(error), wanted=place.id)
        if kept is not None:
            report(None, "dead")
        return kept
    if _is_superseded(spool, place, job):
        spool.disk.remove(place.path)
        return None
    job = job.evolve(id=place.id)
    claim = Claim(place.worker, place.id, place.attempt, job, "processing", place.path)
    if len(job.history) >= place.attempt:
        policy = spool.settings.last_good.retry_policy
        target = retry.resume(job, place.attempt, place.worker, policy)
        hook_recovery.ensure(spool, claim, target)
        moved = spool.claims.move_on(place.path, target, place.id)
        report(job.last_attempt, target)
        spool.disk.commit(*moved.owed)
        return moved.id
    if not ends(place):
        return None
    return _settle_lost(spool, place, claim, draw, report)


def _settle_lost(
    spool: Spool, place: ClaimedPlace, claim: Claim, draw: float, report: Report
) -> str:
    """Enter an attempt whose outcome is unknown, and move its job on; return the job's id."""
    run = spool.reader.read_run(place)
    now = clock.now()
    entry = Attempt(
        attempt=place.attempt,
        outcome="cancelled" if cancels.is_requested(spool.layout, place) else "lost",
        error="its worker died before the outcome was on disk",
        worker=place.worker,
        host=run.host if run else None,
        started_at=run.started_at if run else None,
        finished_at=clock.format_timestamp(now),
        log=spool.layout.relative(spool.layout.log(place.id, place.attempt)),
    )
    settings = spool.settings.last_good
    record, target = retry.next_record(claim.job, entry, settings.retry_policy, now=now, draw=draw)
    log.warning("job %s was lost with worker %s: %s", place.id, place.worker, target)
    hook_recovery.withdraw(spool, place, claim.job)
    hook_markers.put_for(spool, claim, record, target, settings)
    moved = spool.claims.settle(claim, record, target)
    report(entry, target)
    spool.disk.commit(*moved.owed)
    return moved.id


def _is_unsettled(spool: Spool, run: ClaimedPlace) -> bool:
    """Whether a run file is that of a job that was moved away by hand while it ran.

    If the outcome is on record, only what the command left on purpose can be running.
    """
    about = spool.reader.read_run(run)
    places = [*spool.reader.places(run.id)]
    if about and about.inode and spool.reader.is_running(run.path):  # perhaps under another name
        places += _with_inode(spool, about.inode)
    for place in places:
        with contextlib.suppress(InvalidJob, FileNotFoundError):
            if len(spool.reader.read(place.path)[0].history) < run.attempt:
                return True
    return False


# -- processes ---------------------------------------------------------------------------------


def _end_processes(
    spool: Spool, place: ClaimedPlace, *, grace: float, stopping: Callable[[], bool]
) -> bool:
    """End what is left of a dead worker's command; True when nothing of it can be running.

    Process ids mean something only on the host, in the boot and in the pid namespace where the
    command was started: elsewhere only the lock of its run file tells of its end.
    """
    run = spool.reader.read_run(place)
    path = spool.layout.claim(place.worker, place.id, place.attempt, "run")
    if run is None or run.place != host.here():
        is_over = not is_locked(path)
    else:
        # No group: its leader may have been reaped, and strangers may have its number.
        marks = survivors.Marks(cookie(place.worker, place.id, run), None, path)
        is_over = survivors.end(
            marks, grace, gives_up=lambda overdue: overdue > _PATIENCE or stopping()
        )
    if not is_over and not stopping():
        on = run.host if run else "a host that is not known"
        log.warning("job %s still runs on %s: waiting for its end", place.id, on)
    return is_over


# -- two places --------------------------------------------------------------------------------


def _is_superseded(spool: Spool, place: ClaimedPlace, job: Job) -> bool:
    """Whether the same job is elsewhere too, in a state that is not earlier than this one.

    A power cut may leave that where directories reach the disk one by one (ext4 without a journal),
    and so may a move by link and unlink that was cut in two: the job's later place is on disk
    already, and the removal of its earlier place is not.
    """
    log_name = spool.layout.relative(spool.layout.log(place.id, place.attempt))
    for other in _namesakes(spool, place):
        if other.path == place.path:
            continue
        if same_file(other.path, place.path):
            if not _is_one_job(spool, place, other, job):
                continue
            if name_to_remove(place, other, dead=place.worker) == place:
                return True
            continue
        with contextlib.suppress(InvalidJob, FileNotFoundError):
            if _follows(spool.reader.read(other.path)[0], job, place, log_name):
                return True
    return False


def _is_one_job(spool: Spool, place: ClaimedPlace, other: Place, job: Job) -> bool:
    """Whether another name of a claimed file is a name of the same job.

    Somebody may have made hard links of one file to two ids: those are two jobs. The ids of one
    job differ only if one of them was numbered, because another job owns the plain one.
    """
    asked = (job.id if other.state == "pending" else None) or other.id
    if place.id in (asked, other.id):
        return True
    for plain, other_id in ((place.id, asked), (asked, place.id)):
        number = other_id.rpartition(".")[2]
        if number.isdecimal() and is_id(plain) and numbered(plain, int(number)) == other_id:
            owners = spool.reader.places(plain)
            return any(not same_file(owner.path, place.path) for owner in owners)
    return False


def _namesakes(spool: Spool, place: ClaimedPlace) -> Iterator[Place]:
    """List where a claimed job may be too: under its id, its numbered ids, or as the same file."""
    number, job_id = 1, place.id
    while found := spool.reader.places(job_id):
        yield from found
        number += 1
        job_id = numbered(place.id, number)
    seen = os.lstat(place.path)
    if seen.st_nlink > 1:  # dropped under another name than its id, or a hard link to another id
        yield from _with_inode(spool, seen.st_ino)


def _with_inode(spool: Spool, inode: int) -> Iterator[Place]:
    """List the unclaimed names of a file."""
    for state in UNCLAIMED:
        with os.scandir(spool.layout.states[state]) as entries:
            for entry in entries:
                if entry.inode() == inode and layout.is_job_name(entry.name):
                    yield Place(state, layout.stem(entry.name), entry.path)


def _follows(later: Job, job: Job, place: ClaimedPlace, log_name: str) -> bool:
    """Whether `later` is the claimed job with what its own holder has added.

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
    return entry.worker == place.worker and entry.log in (None, log_name)


def _submitted(job: Job) -> bytes:
    """Return what no rewrite of a record changes, without the white space."""
    changing = ("id", "run_at", "updated_at", "attempts", "history")
    kept = {name: text for name, text in job.raw.items() if name not in changing}
    kept["created_at"] = msgspec.Raw(msgspec.json.encode(job.created_at))
    return msgspec.json.format(msgspec.json.encode(dict(sorted(kept.items()))), indent=-1)

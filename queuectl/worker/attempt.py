"""One command, from its start to its outcome.

The command gets a session of its own, /dev/null as its input, the attempt's log as its output
and a descriptor of its run file, whose lock is held as long as any of its descendants lives.
When it has failed, or must end, nothing of it is left running: the same job may be started
again, here or elsewhere, as soon as the outcome is written. What a command that succeeded left
running, it left on purpose.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Mapping

from msgspec.structs import replace

from queuectl import clock, host, slot_lock
from queuectl.disk.durable import create, write_all
from queuectl.disk.locks import make_locked
from queuectl.disk.reading import kind
from queuectl.process import spawn, survivors
from queuectl.process.spawn import Child
from queuectl.process.waiting import StopSwitch, wait
from queuectl.record.encoding import encode
from queuectl.record.job import MAX_ERROR_CHARS, Attempt, Job
from queuectl.record.outcome import ended
from queuectl.record.running import Run, cookie
from queuectl.record.settings import Settings
from queuectl.spool.places import Claim
from queuectl.spool.spool import Spool

LOCK_FD = 64
"""The run file's descriptor in the command: so high that a shell's `exec 3>` does not hit it."""

_IN_THE_WAY = (errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM)
_OUR_TROUBLE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def run(
    spool: Spool,
    claim: Claim,
    slot: int,
    settings: Settings,
    control: StopSwitch,
    environment: Mapping[bytes, bytes] = os.environb,
) -> Attempt:
    """Run a claimed job's command and return the history entry of its attempt.

    Its environment is `environment`, the job's own variables over it, and ours over those.

    Whatever is wrong with the command is an outcome. Raises OSError only for trouble of ours
    before the command was started (disk full, no process to be had). A command whose end was
    asked for before its start is not started.
    """
    log_path = spool.layout.log(claim.id, claim.attempt)
    entry = Attempt(
        attempt=claim.attempt,
        outcome="failed",
        worker=claim.worker,
        host=host.hostname(),
        started_at=clock.format_timestamp(clock.now()),
        log=spool.layout.relative(log_path),
    )
    try:
        log = _open_log(log_path, spool.disk.file_mode)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        reason = f"its log cannot be opened: {error.strerror}"
        return replace(entry, error=reason, log=None, finished_at=entry.started_at)
    try:
        if control.reason:
            entry = ended(entry, control.reason, None, None)
        else:
            entry = _run(spool, claim, slot, settings, control, environment, entry, log)
    finally:
        _close(log)
    return replace(entry, finished_at=clock.format_timestamp(clock.now()))


def _run(
    spool: Spool,
    claim: Claim,
    slot: int,
    settings: Settings,
    control: StopSwitch,
    environment: Mapping[bytes, bytes],
    entry: Attempt,
    log: int,
) -> Attempt:
    info = Run(
        attempt=claim.attempt,
        slot=slot,
        host=host.hostname(),
        boot_id=host.boot_id(),
        pid=None,
        started_at=entry.started_at or "",
    )
    mark = cookie(claim.worker, claim.id, info)
    run_path = spool.layout.claim(claim.worker, claim.id, claim.attempt, "run")
    run_file = make_locked(run_path, spool.layout.staged(), spool.disk.file_mode)
    try:
        write_all(run_file, encode(info))
        try:
            command = _start(spool, claim, environment, mark, run_file, log)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _OUR_TROUBLE:
                raise
            return _not_started(entry, claim.job, error, log)
        with contextlib.suppress(OSError):  # for people who look; the marks do without
            os.pwrite(run_file, encode(replace(info, pid=command.pid)), 0)
    finally:
        _close(run_file)  # from here on the command's own copies hold the lock
    timeout = claim.job.timeout or settings.timeout
    asked = wait(command, timeout, control)
    if asked or command.has_failed():
        # The leader is not reaped yet, so its group's number cannot be another's.
        marks = survivors.Marks(mark, survivors.identity(run_path), group=command.pid)
        with slot_lock.released():
            survivors.end(marks, settings.kill_grace, pause=time.sleep)
    return ended(entry, asked, command.reap(), timeout)


def _close(fd: int) -> None:
    """Close a descriptor, whatever the file system says to it: the command has been started."""
    with contextlib.suppress(OSError):
        os.close(fd)


def _open_log(path: str, mode: int) -> int:
    """Open an attempt's log. Whatever else stands in its place is not waited for or written to."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
    with contextlib.suppress(FileExistsError):
        return create(path, flags | os.O_EXCL, mode)
    fd = create(path, flags, mode)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise OSError(errno.EEXIST, f"{kind(found.st_mode)} is in the way", path)
    return fd


def _start(
    spool: Spool,
    claim: Claim,
    environment: Mapping[bytes, bytes],
    mark: str,
    run_file: int,
    log: int,
) -> Child:
    job = claim.job
    ours = {
        b"QUEUECTL_SPOOL": os.fsencode(spool.layout.root),
        b"QUEUECTL_JOB_ID": claim.id.encode(),
        b"QUEUECTL_ATTEMPT": b"%d" % claim.attempt,
        survivors.RUN_VARIABLE.encode(): os.fsencode(mark),
    }
    theirs = {os.fsencode(name): os.fsencode(value) for name, value in (job.env or {}).items()}
    return spawn.start(
        ["/bin/sh", "-c", job.command] if isinstance(job.command, str) else job.command,
        {**environment, **theirs, **ours},
        job.cwd,
        output=log,
        inherited=(run_file, LOCK_FD),
    )


def _not_started(entry: Attempt, job: Job, error: Exception, log: int) -> Attempt:
    """The outcome of a command that cannot be executed, with a shell's exit codes for it."""
    if job.cwd is not None and not os.path.isdir(job.cwd):
        code, reason = None, f"cwd {job.cwd} is no directory here"
    elif isinstance(error, FileNotFoundError):
        code, reason = 127, f"command not found: {job.command[0]}"
    else:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        code, reason = 126, f"cannot be executed: {reason}"
    with contextlib.suppress(OSError):
        os.write(log, f"queuectl: {reason}\n".encode(errors="replace"))
    return replace(entry, exit_code=code, error=reason[:MAX_ERROR_CHARS])

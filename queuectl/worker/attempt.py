"""One attempt: a command from its start to its outcome.

The command gets a session of its own, /dev/null as standard input and the attempt's log as output.
It inherits a descriptor of its run file, whose lock is held until the last of its descendants ends.
When a command has failed or must end, all of its processes are ended: as soon as the outcome is
written, the job may start again, here or elsewhere. What a command that succeeded left running, it
left on purpose.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from queuectl import clock, host, trouble
from queuectl.disk.durable import create, write_all
from queuectl.disk.locks import make_locked
from queuectl.disk.reading import exists, kind
from queuectl.errors import ClaimLost
from queuectl.process import spawn, survivors
from queuectl.process.spawn import Child
from queuectl.process.waiting import OutputLimit, StopSwitch, wait
from queuectl.record.job import MAX_ERROR_CHARS, Attempt, Job
from queuectl.record.outcome import ended
from queuectl.record.running import Run, content, cookie
from queuectl.record.settings import Settings
from queuectl.spool.places import Claim
from queuectl.spool.spool import Spool
from queuectl.worker import descriptors
from queuectl.worker.run_end import end_run

log = logging.getLogger(__name__)

LOCK_FD = 64
"""The run file's descriptor in the command: too high to be closed by a shell's `exec 3>`."""

_NAME_IS_TAKEN = (errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM)
"""Errors at opening a log that mean: its name is taken by something that is not its log."""


class _Order(Struct, frozen=True):
    """What to run: a claim, in a slot, with the settings and the environment of the moment."""

    spool: Spool
    claim: Claim
    slot: int
    settings: Settings
    environment: Mapping[bytes, bytes]
    leaving: threading.Event

    @property
    def timeout(self) -> float | None:
        """How long the command may run, in seconds."""
        return self.claim.job.timeout or self.settings.timeout

    @property
    def run_path(self) -> str:
        """The path of the attempt's run file."""
        return self.spool.layout.claim(self.claim.worker, self.claim.id, self.claim.attempt, "run")


def run(
    spool: Spool,
    claim: Claim,
    slot: int,
    settings: Settings,
    switch: StopSwitch,
    environment: Mapping[bytes, bytes] = os.environb,
    leaving: threading.Event | None = None,
) -> Attempt:
    """Run a claimed job's command and return the history entry of the attempt.

    The job's own variables replace those of `environment`, and queuectl's replace both. If the
    `switch` has been used before the command starts, the command does not start.

    Whatever is wrong with the command is an outcome. There is none before the last process of a
    failed attempt has ended: where they cannot be ended, that is tried again until it succeeds or
    `leaving` is set, and then NotEnded is raised. Raises OSError only for an error that is not
    the command's fault (the disk is full, no process can be made), and only before it has started;
    raises ClaimLost if the job was moved away before it has started.
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
        output = _open_log(log_path, spool.disk.file_mode)
    except OSError as error:
        if error.errno not in _NAME_IS_TAKEN:
            raise
        reason = f"its log cannot be opened: {error.strerror}"
        return replace(entry, error=reason, log=None, finished_at=entry.started_at)
    try:
        if switch.reason:
            entry = ended(entry, switch.reason, None, None)
        else:
            order = _Order(spool, claim, slot, settings, environment, leaving or threading.Event())
            entry = _run_command(order, switch, entry, output)
    finally:
        _close(output)
    return replace(entry, finished_at=clock.format_timestamp(clock.now()))


def _run_command(order: _Order, switch: StopSwitch, entry: Attempt, output: int) -> Attempt:
    """Start the command, wait for its end and return how it ended."""
    info = Run(
        attempt=order.claim.attempt,
        slot=order.slot,
        host=host.hostname(),
        boot_id=host.boot_id(),
        inode=order.claim.inode,
        pid_namespace=host.pid_namespace(),
        pid=None,
        started_at=entry.started_at or "",
    )
    limit = OutputLimit(output, order.settings.output_max)
    mark = cookie(order.claim.worker, order.claim.id, info)
    run_file = make_locked(order.run_path, order.spool.layout.staged(), order.spool.disk.file_mode)
    try:
        write_all(run_file, content(info))
        # From here on whoever claims the job's file sees that it runs. It must not have been
        # moved away before.
        if not exists(order.claim.path):
            raise ClaimLost(f"{order.claim.path} is gone: job {order.claim.id} was moved")
        try:
            with switch.starting(order.timeout):
                command = _start(order, mark, run_file, output)
        except (OSError, ValueError, spawn.NoSuchDirectory) as error:
            if trouble.owner(error) == "process":
                raise
            return _not_started(entry, order.claim.job, error, output)
        with contextlib.suppress(OSError):  # the other marks do without the pid
            os.pwrite(run_file, content(replace(info, pid=command.pid)), 0)
    finally:
        _close(run_file)  # from now on the command's own descriptor holds the lock
    try:
        return _see_to_the_end(order, command, mark, switch, limit, entry)
    except OSError as error:  # not to be taken for "not started": recovery ends what runs
        raise RuntimeError(f"job {order.claim.id} runs, and cannot be waited for") from error


def _see_to_the_end(
    order: _Order,
    command: Child,
    mark: str,
    switch: StopSwitch,
    limit: OutputLimit,
    entry: Attempt,
) -> Attempt:
    """Wait for a command's end, and end what is left of it unless it has succeeded."""
    asked = wait(command, order.timeout, switch, limit)
    if asked or command.has_failed():
        # The command is not reaped yet, so no other process group can have its number.
        marks = survivors.Marks(mark, command.group, order.run_path)
        of = f"job {order.claim.id}"
        end_run(marks, order.settings.kill_grace, order.leaving, of=of)
    return ended(entry, asked, command.reap(), order.timeout, order.settings.output_max)


def _close(fd: int) -> None:
    """Close a descriptor and ignore errors: the command has started, so its outcome counts."""
    with contextlib.suppress(OSError):
        os.close(fd)


def _open_log(path: str, mode: int) -> int:
    """Open an attempt's log. If its name is a FIFO or the like, do not block and do not write."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
    with contextlib.suppress(FileExistsError):
        return create(path, flags | os.O_EXCL, mode)
    fd = create(path, flags, mode)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise OSError(errno.EEXIST, f"{kind(found.st_mode)} is in the way", path)
    return fd


def _start(order: _Order, mark: str, run_file: int, output: int) -> Child:
    job = order.claim.job
    ours = {
        b"QUEUECTL_SPOOL": os.fsencode(order.spool.layout.root),
        b"QUEUECTL_JOB_ID": order.claim.id.encode(),
        b"QUEUECTL_ATTEMPT": b"%d" % order.claim.attempt,
        survivors.RUN_VARIABLE.encode(): os.fsencode(mark),
    }
    theirs = {os.fsencode(name): os.fsencode(value) for name, value in (job.env or {}).items()}
    return spawn.start(
        ["/bin/sh", "-c", job.command] if isinstance(job.command, str) else job.command,
        {**order.environment, **theirs, **ours},
        job.cwd,
        output=output,
        inherited=(run_file, descriptors.highest(LOCK_FD)),
    )


def _not_started(entry: Attempt, job: Job, error: Exception, output: int) -> Attempt:
    """Return the outcome of a command that cannot be executed, with the exit code of a shell."""
    if isinstance(error, spawn.NoSuchDirectory):
        code, reason = None, f"cwd {job.cwd} is not a directory on this host"
    elif isinstance(error, FileNotFoundError):
        code, reason = 127, f"command not found: {job.command[0]}"
    else:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        code, reason = 126, f"cannot be executed: {reason}"
    with contextlib.suppress(OSError):
        os.write(output, f"queuectl: {reason}\n".encode(errors="replace"))
    return replace(entry, exit_code=code, error=reason[:MAX_ERROR_CHARS])

"""One hook: from its marker to the end of its command, and what went wrong."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from typing import Literal

import msgspec

from queuectl.disk.durable import create, discard
from queuectl.process import spawn, survivors
from queuectl.process.spawn import Child
from queuectl.process.waiting import OutputLimit, StopSwitch, wait
from queuectl.record import hook_event
from queuectl.record.hook_event import VARIABLES, Marker
from queuectl.record.job import Attempt, Outcome
from queuectl.record.outcome import ended
from queuectl.record.settings import Settings
from queuectl.spool import hook_markers
from queuectl.spool.spool import Spool
from queuectl.worker.run_end import end_run

log = logging.getLogger(__name__)

SHOWN_BYTES = 300
"""How much of the output of a failed hook is logged: its last bytes."""
_FAULT_OF_THE_HOOK = (errno.E2BIG, errno.ENOENT, errno.EACCES, errno.ENOEXEC)
"""A hook that cannot be started for one of these reasons could not be started later either. Every
other error is of a call that a start makes (EPERM from clone, EBUSY from dup2): it is tried again,
because the hook of every event runs at least once."""


def run_hook(
    spool: Spool, worker: str, name: str, switch: StopSwitch, leaving: threading.Event
) -> None:
    """Run the hook of the marker `name`, and remove the marker when the hook has ended.

    What the hook did wrong is logged. If the `switch` ends the hook, the marker stays for recovery,
    and also if its processes cannot be ended before `leaving` is set: then raises NotEnded. Raises
    OSError, QueuectlError if the hook could not be run now.
    """
    settings = spool.settings.last_good
    try:
        marker = hook_markers.read(spool, worker, name)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as error:  # written without fsync, or edited by hand
        log.error("hook %s cannot be read, and is not run: %s", name, error)
        hook_markers.remove(spool, worker, name)
        return
    command = hook_event.hook_for(marker.event, settings)
    if command is not None:
        told = _environment(spool, marker) | {survivors.RUN_VARIABLE: f"{worker}.{name}"}
        about = "" if marker.event == "idle" else f" of job {marker.id}"
        hook = f"hook on_{marker.event}{about}"
        wrong = _run_command(spool, command, told, settings, switch, leaving, of=hook)
        if switch.reason is not None:
            return
        if wrong is None:
            log.debug("%s has run", hook)
        else:
            log.error("%s failed: %s", hook, wrong)
    hook_markers.remove(spool, worker, name)


def _run_command(
    spool: Spool,
    command: str,
    told: dict[str, str],
    settings: Settings,
    switch: StopSwitch,
    leaving: threading.Event,
    *,
    of: str,
) -> str | None:
    """Run a hook's command to its end; return what went wrong, in one line."""
    output = _open_output(spool)
    try:
        limit = OutputLimit(output, settings.output_max)
        try:
            hook = _start(command, told, output)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _FAULT_OF_THE_HOOK:
                raise
            return f"cannot be started: {error}"
        asked: Outcome | Literal["output"] | None = "interrupted"
        try:
            asked = wait(hook, settings.hook_timeout, switch, limit)
        finally:
            if asked:
                end_run(_marks(told, hook, output), settings.kill_grace, leaving, of=of)
            code = hook.reap()
        entry = Attempt(attempt=0, outcome="failed")
        entry = ended(entry, asked, code, settings.hook_timeout, settings.output_max)
        return entry.error and f"{entry.error}{_end_of(output)}"
    finally:
        os.close(output)


def _marks(told: dict[str, str], hook: Child, output: int) -> survivors.Marks:
    """Return the marks of a hook's processes; its output is not locked, and was removed."""
    file = None
    with contextlib.suppress(OSError):  # there is no /proc
        file = os.readlink(f"/proc/self/fd/{output}").removesuffix(" (deleted)")
    return survivors.Marks(told[survivors.RUN_VARIABLE], hook.group, file, has_lock=False)


def _environment(spool: Spool, marker: Marker) -> dict[str, str]:
    place = hook_markers.find_job(spool, marker)
    return hook_event.environment(
        marker,
        root=spool.layout.root,
        log=spool.layout.in_root(marker.log) if marker.log else None,
        job_id=place.id if place else None,
        job_file=place.path if place else None,
    )


def _open_output(spool: Spool) -> int:
    """Open a file without a name: it is gone when the last process closes it, even by a crash."""
    path = spool.layout.staged()
    fd = create(path, os.O_RDWR | os.O_APPEND | os.O_EXCL, 0o600)
    discard(path)
    return fd


def _start(command: str, told: dict[str, str], output: int) -> Child:
    ours = {os.fsencode(key): os.fsencode(value) for key, value in told.items()}
    # If a job or a hook started this worker, the worker's environment has that one's variables.
    stale = {name.encode() for name in VARIABLES}
    theirs = {key: value for key, value in os.environb.items() if key not in stale}
    return spawn.start(["/bin/sh", "-c", command], theirs | ours, None, output=output)


def _end_of(output: int) -> str:
    """Return the last bytes that a command wrote, as the end of a line of the log."""
    with contextlib.suppress(OSError):
        size = os.fstat(output).st_size
        data = os.pread(output, SHOWN_BYTES, max(size - SHOWN_BYTES, 0))
        text = " ".join(data.decode(errors="replace").split())
        return f": {'...' if size > SHOWN_BYTES else ''}{text}" if text else ""
    return ""

"""The end of a run of this worker: it has no outcome before the last of its processes has ended."""

from __future__ import annotations

import contextlib
import logging
import threading

from queuectl import slot_lock
from queuectl.process import survivors

log = logging.getLogger(__name__)


class NotEnded(Exception):
    """The worker leaves, and processes of a run are left: the run has no outcome yet."""


def end_run(marks: survivors.Marks, grace: float, leaving: threading.Event, *, of: str) -> None:
    """Return once nothing of a run is left, with `grace` seconds between SIGTERM and SIGKILL.

    Processes that cannot be ended are waited for until `leaving` is set; then raises NotEnded.
    `of` names the run in messages.
    """
    is_told = False

    def gives_up(overdue: float) -> bool:
        nonlocal is_told
        if overdue > survivors.PATIENCE and not is_told:
            is_told = True
            log.error(
                "%s: its processes cannot be ended%s; waiting for their end", of, _shown(marks)
            )
        return overdue > survivors.PATIENCE and leaving.is_set()

    with slot_lock.released():
        if not survivors.end(marks, grace, gives_up=gives_up):
            raise NotEnded(f"processes of {of} cannot be ended")


def _shown(marks: survivors.Marks) -> str:
    """Name the processes that are left, as far as they can be seen from here."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        pids = sorted(survivors.find(marks))
    return f" (pid {', '.join(map(str, pids))})" if pids else ""

"""queuectl: a background job queue that is nothing but a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl.version import __version__

if TYPE_CHECKING:
    from queuectl.errors import (
        AmbiguousId,
        ClaimLost,
        IdTaken,
        InvalidInput,
        InvalidJob,
        InvalidSetting,
        NoSuchJob,
        NotDurable,
        NotJson,
        QueuectlError,
        SpoolUnusable,
        StillRuns,
        TimedOut,
        WrongState,
    )
    from queuectl.queue import Queue
    from queuectl.record.job import Attempt, Job
    from queuectl.record.settings import Settings
    from queuectl.view.status import JobStatus, QueueStatus, SlotStatus, WorkerStatus
else:
    # Each name is imported when it is first used. The command line imports this package too, and
    # must be able to say what a Ctrl-C does before it imports anything that takes time.

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in __all__:
            for home in ("errors", "queue", "record.job", "record.settings", "view.status"):
                module = import_module(f"queuectl.{home}")
                if hasattr(module, name):
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module 'queuectl' has no attribute {name!r}")

    def __dir__() -> list[str]:  # what a prompt completes
        return __all__


__all__ = [
    "AmbiguousId",
    "Attempt",
    "ClaimLost",
    "IdTaken",
    "InvalidInput",
    "InvalidJob",
    "InvalidSetting",
    "Job",
    "JobStatus",
    "NoSuchJob",
    "NotDurable",
    "NotJson",
    "Queue",
    "QueueStatus",
    "QueuectlError",
    "Settings",
    "SlotStatus",
    "SpoolUnusable",
    "StillRuns",
    "TimedOut",
    "WorkerStatus",
    "WrongState",
    "__version__",
]

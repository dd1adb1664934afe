"""queuectl: a background job queue that is nothing but a directory."""

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
from queuectl.version import __version__
from queuectl.view.status import JobStatus, QueueStatus, SlotStatus, WorkerStatus

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

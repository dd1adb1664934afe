"""queuectl: a background job queue that is nothing but a directory."""

__version__ = "0.1.0"

from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.report import JobStatus, QueueStatus, WorkerStatus

__all__ = ["JobStatus", "Queue", "QueueStatus", "QueuectlError", "WorkerStatus"]

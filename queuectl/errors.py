"""The errors that queuectl raises, each with the exit code of a command that ends with it.

A message names the value, says what is wrong with it and, where possible, what to do.
"""

from __future__ import annotations


class QueuectlError(Exception):
    """The operation could not be done."""

    exit_code = 1


class InvalidInput(QueuectlError):
    """The input is not valid: a wrong option, job or setting."""

    exit_code = 2


class InvalidJob(InvalidInput):
    """A job breaks the rules of the job file."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        """The field that is wrong, if it is one field."""


class NotJson(InvalidJob):
    """The bytes are not, or not yet, a JSON object: a half-written job never parses."""


class InvalidSetting(InvalidInput):
    """A setting is unknown, or its value is not allowed."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        """The setting that is wrong, if it is one setting."""


class NoSuchJob(QueuectlError):
    """No job has this id, or an id that starts with it."""


class AmbiguousId(QueuectlError):
    """Several jobs have an id that starts with the given text."""


class IdTaken(QueuectlError):
    """The spool already has a job with this id."""


class WrongState(QueuectlError):
    """The job is in a state in which the operation cannot be done."""


class SpoolUnusable(QueuectlError):
    """The directory is not a spool, or it is a spool that must not be used."""


class NotDurable(QueuectlError):
    """The disk could not make the change durable, so the change is not acknowledged."""


class ClaimLost(QueuectlError):
    """The claimed file is gone: someone moved it, or another process took this worker for dead."""


class StillRuns(QueuectlError):
    """A command of the job still runs, although the job was moved back to where jobs wait."""

    def __init__(self, message: str, run_file: str = "") -> None:
        super().__init__(message)
        self.run_file = run_file
        """The path of the run file whose lock is held while the command runs."""


class IdsBusy(QueuectlError):
    """Another process is choosing an id, and this job needs one too."""


class TimedOut(QueuectlError):
    """The wait ended before the jobs did; the exit code is that of timeout(1)."""

    exit_code = 124

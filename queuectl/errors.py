"""Every error queuectl raises on purpose, each with the exit code its command ends with.

The message says what is wrong and, where something can be done about it, what to do next.
"""

from __future__ import annotations


class QueuectlError(Exception):
    """It could not be done."""

    exit_code = 1


class InvalidInput(QueuectlError):
    """What was given is not valid: a wrong option, a bad job, a bad setting."""

    exit_code = 2


class InvalidJob(InvalidInput):
    """A job breaks the rules of the job file."""


class NotJson(InvalidJob):
    """The bytes are not a JSON object (yet): a half-written job never parses."""


class InvalidSetting(InvalidInput):
    """An unknown setting, or a value outside its range."""


class NoSuchJob(QueuectlError):
    """No job has that id, or an id that begins so."""


class AmbiguousId(QueuectlError):
    """Several jobs have an id that begins so."""


class IdTaken(QueuectlError):
    """A job with that id stands in the spool already."""


class WrongState(QueuectlError):
    """The job is not in a state in which that can be done."""


class SpoolUnusable(QueuectlError):
    """There is no spool there, or it is one that must not be used."""


class NotDurable(QueuectlError):
    """The disk refused to make it durable, so it is not acknowledged."""


class ClaimLost(QueuectlError):
    """The claimed file is gone: somebody moved it, or took this worker for dead."""


class StillRuns(QueuectlError):
    """A command of this job is alive, though its job was moved to where it waits."""


class TimedOut(QueuectlError):
    """What was waited for did not happen in the given time (exit code as timeout(1))."""

    exit_code = 124

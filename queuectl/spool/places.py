"""Where a job is, and what is known of a waiting file: values that the spool's modules share."""

from __future__ import annotations

import os
from typing import Final

from msgspec import Struct

from queuectl.record.job import Job, State

WAITING: Final[tuple[State, ...]] = ("pending", "failed")
"""The states from which a worker takes jobs."""

FINISHED: Final[tuple[State, ...]] = ("completed", "dead")
"""The states in which a job stays until somebody asks for it."""

UNCLAIMED: Final[tuple[State, ...]] = ("failed", "completed", "dead", "pending")
"""The states other than processing; `pending` is last, for a file there may not own its id."""


class Place(Struct, frozen=True, order=True):
    """Where a job is: its state, its id, its file."""

    state: State
    id: str
    path: str


class ClaimedPlace(Place, frozen=True):
    """Where a claimed job is, and for which attempt its holder has claimed it."""

    worker: str
    attempt: int


class Claim(Struct, frozen=True):
    """A job that the holder has renamed into its own directory, and its record.

    `inode` is that of its file, until the record is rewritten; 0 if it is not known.
    """

    worker: str
    id: str
    attempt: int
    job: Job
    origin: State
    path: str
    inode: int = 0


class Seen(Struct, frozen=True):
    """A waiting job when it was last read: the id it asks for, and how many attempts it has had."""

    id: str
    attempts: int


class Ready(Seen, frozen=True):
    """A file that is a valid job, its record, and its inode if that is known."""

    job: Job
    inode: int = 0


class Unfit(Struct, frozen=True):
    """A file that is not a valid job, perhaps not yet.

    While `version` is equal, the file has not changed.
    """

    reason: str
    version: tuple[int, ...]
    being_written: bool


def version_of(found: os.stat_result) -> tuple[int, ...]:
    """Return a value that stays equal while a file is the same and nobody changes it."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode

"""Output as it is written: one attempt's log, or a job's from attempt to attempt."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from msgspec import Struct

from queuectl.errors import NoSuchJob
from queuectl.spool.places import FINISHED, ClaimedPlace
from queuectl.spool.reader import Reader
from queuectl.view.status import job_status

CHUNK_BYTES = 65536
SECONDS_BETWEEN_LOOKS = 0.1


class Output(Struct, frozen=True):
    """A piece of the output of an attempt."""

    attempt: int
    data: bytes


def follow(spool: Reader, job_id: str, first: int) -> Iterator[Output]:
    """Yield a job's output from attempt `first` on, as it comes, until the job has ended.

    An attempt's start is told by a piece without data. A job that waits, for its first attempt
    or for a retry, is waited for. Raises NoSuchJob if the job is removed.
    """
    attempt = first
    while True:
        newest, running, ended = _progress(spool, job_id)
        if attempt <= newest:
            yield Output(attempt, b"")
            yield from _follow_attempt(spool, job_id, attempt)
            attempt += 1
        elif ended and not running:
            return
        else:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def read(path: str, offset: int = 0) -> Iterator[bytes]:
    """Yield a log's bytes from an offset on; nothing if there is no log."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            file.seek(offset)
            while data := file.read(CHUNK_BYTES):
                yield data
    except FileNotFoundError:
        return


def _follow_attempt(spool: Reader, job_id: str, attempt: int) -> Iterator[Output]:
    path, offset = spool.layout.log(job_id, attempt), 0
    while True:
        newest, running, _ = _progress(spool, job_id)
        over = newest > attempt or not running  # asked before reading: what comes later is new
        for data in read(path, offset):
            offset += len(data)
            yield Output(attempt, data)
        if over:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _progress(spool: Reader, job_id: str) -> tuple[int, bool, bool]:
    """Return a job's newest attempt, whether it is running, and whether the job has ended."""
    for _ in range(3):
        place = spool.find_exactly(job_id)
        status = job_status(spool, place)
        if status is None:
            continue
        over = len(status.job.history) if status.job else 0
        if isinstance(place, ClaimedPlace) and place.attempt > over:
            return place.attempt, True, False
        return over, False, place.state in FINISHED
    raise NoSuchJob(f"job {job_id} keeps moving: try again")

"""The output of jobs: the log of one attempt, or all logs of a job while they are written."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from queuectl.disk.reading import NotRegular, open_regular
from queuectl.errors import NoSuchJob
from queuectl.spool.places import FINISHED, ClaimedPlace
from queuectl.spool.reader import Reader
from queuectl.view.status import job_status

CHUNK_BYTES = 65536
SECONDS_BETWEEN_LOOKS = 0.1


class Output(Struct, frozen=True):
    """A piece of an attempt's output; the first piece of each attempt is empty."""

    attempt: int
    data: bytes


def follow(reader: Reader, job_id: str, first: int, tail: int | None = None) -> Iterator[Output]:
    """Yield a job's output from attempt `first` on, as it is written, until the job has ended.

    Each attempt begins with an empty piece. While the job waits for its first attempt or for a
    retry, wait with it. With `tail`, the first attempt begins with its last lines only. Raises
    NoSuchJob if the job is removed.
    """
    attempt = first
    while True:
        newest, running, ended = _progress(reader, job_id)
        if attempt <= newest:
            yield Output(attempt, b"")
            yield from _follow_attempt(reader, job_id, attempt, tail)
            attempt, tail = attempt + 1, None
        elif ended and not running:
            return
        else:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def read(path: str, offset: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a log from an offset on; nothing if the log is missing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), open(open_regular(path)[0], "rb") as file:
        file.seek(offset)
        while data := file.read(CHUNK_BYTES):
            yield data


def part(path: str, first: int, count: int) -> tuple[bytes, int]:
    """Return so much of a log from an offset on, and the size of the log; 0 if it is missing.

    Raises OSError.
    """
    try:
        fd, found = open_regular(path)
    except FileNotFoundError:
        return b"", 0
    try:
        return os.pread(fd, count, first), found.st_size
    finally:
        os.close(fd)


def problem(path: str) -> str:
    """Say why there is no output to read in a log; "" if there is some, or may come."""
    name = os.path.basename(path)
    try:
        os.close(open_regular(path)[0])
    except FileNotFoundError:
        return f"{name} does not exist: the attempt wrote no log, or the log was removed"
    except NotRegular as error:
        return f"{name} {error.strerror}"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return ""


def last_lines(path: str, lines: int) -> int:
    """Return the offset at which the last lines of a log begin; 0 if the log is missing."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return 0
    with open(number, "rb") as file:
        position = end = file.seek(0, os.SEEK_END)
        while position > 0:
            start = max(position - CHUNK_BYTES, 0)
            file.seek(start)
            data = file.read(position - start)
            at = len(data)
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                lines -= start + at + 1 < end  # the last byte ends a line, and begins none
                if lines == 0:
                    return start + at + 1
            position = start
    return 0


def grow(path: str, offset: int, over: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the bytes of a log from an offset on as they are written, until it is `over`."""
    while True:
        ended = over()  # found out before the read: nothing can follow it
        for data in read(path, offset):
            offset += len(data)
            yield data
        if ended:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _follow_attempt(
    reader: Reader, job_id: str, attempt: int, tail: int | None
) -> Iterator[Output]:
    def over() -> bool:
        newest, running, _ = _progress(reader, job_id)
        return newest > attempt or not running

    path = reader.layout.log(job_id, attempt)
    offset = 0 if tail is None else last_lines(path, tail)
    return (Output(attempt, data) for data in grow(path, offset, over))


def _progress(reader: Reader, job_id: str) -> tuple[int, bool, bool]:
    """Return a job's newest attempt, whether it is running, and whether the job has ended."""
    for _ in range(3):
        place = reader.find_exactly(job_id)
        status = job_status(reader, place)
        if status is None:
            continue
        finished = len(status.job.history) if status.job else 0
        if isinstance(place, ClaimedPlace) and place.attempt > finished:
            return place.attempt, True, False
        return finished, False, place.state in FINISHED
    raise NoSuchJob(f"job {job_id} keeps moving: try again")

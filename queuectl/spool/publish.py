"""Publishing: new jobs enter the spool whole, on disk before anyone sees them, over nobody's job.

write tmp/NEW, fsync                 the job's bytes are on disk, and nothing is visible
rename tmp/NEW to pending/ID.json    the commit point for everyone who looks; never overwrites
fsync pending/                       the commit for a power cut: now it may be acknowledged
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from queuectl.disk.durable import discard
from queuectl.disk.locks import locked
from queuectl.errors import IdTaken
from queuectl.record.ids import check_id
from queuectl.record.job import Job
from queuectl.spool.spool import Spool


def publish(spool: Spool, job: Job, *, unique: bool) -> str:
    """Make a new job visible in `pending/` and durable; return its id.

    With `unique`, for an id that somebody chose, the id is refused if a job has it in any state:
    a lock makes the look and the publishing one step among all who publish chosen ids.
    Raises IdTaken, NotDurable, OSError.
    """
    job_id = check_id(job.id or "")
    staged = spool.layout.staged()
    spool.disk.write(staged, job.encode())
    try:
        with _id_lock(spool, unique):
            if unique:
                _refuse_taken(spool, job_id)
            spool.disk.publish(staged, spool.layout.job("pending", job_id))
    except BaseException as error:
        discard(staged)
        if isinstance(error, FileExistsError):
            raise IdTaken(f"job {job_id} exists already (pending)") from None
        raise
    return job_id


def publish_many(spool: Spool, jobs: Iterable[tuple[Job, bool]]) -> list[str]:
    """Make many new jobs durable and visible, in order, all or none; return their ids.

    Each comes with whether its id is unique, as for `publish`. If the iterable raises, nothing
    becomes visible. Raises IdTaken, NotDurable, OSError.
    """
    ids: list[str] = []
    chosen: set[str] = set()

    def files() -> Iterator[tuple[str, bytes]]:
        for job, unique in jobs:
            job_id = check_id(job.id or "")
            if unique:
                if job_id in chosen:
                    raise IdTaken(f"the input has two jobs with the id {job_id}")
                chosen.add(job_id)
            ids.append(job_id)
            yield spool.layout.staged(), job.encode()

    staged = spool.disk.write_many(files())
    try:
        with _id_lock(spool, bool(chosen)):
            for job_id in chosen:
                _refuse_taken(spool, job_id)
            spool.disk.publish_many(
                [(s, spool.layout.job("pending", i)) for s, i in zip(staged, ids, strict=True)]
            )
    except BaseException as error:
        for path in staged:
            discard(path)
        if isinstance(error, FileExistsError):
            raise IdTaken(f"{error.filename2} exists already") from None
        raise
    return ids


def _refuse_taken(spool: Spool, job_id: str) -> None:
    if places := spool.reader.places(job_id):
        raise IdTaken(f"job {job_id} exists already ({places[0].state})")


@contextlib.contextmanager
def _id_lock(spool: Spool, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with locked(spool.layout.id_lock, spool.disk.file_mode):
        yield

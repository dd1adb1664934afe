"""The way into a spool: whole files, on disk before anyone sees them, over nobody's job."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from queuectl.disk import filesystem
from queuectl.disk.durable import Disk, discard
from queuectl.disk.locks import locked
from queuectl.disk.reading import kind
from queuectl.errors import IdTaken, SpoolUnusable
from queuectl.record.ids import check_id
from queuectl.record.job import Job
from queuectl.spool.reader import Reader
from queuectl.spool.settings_file import SettingsFile


class Delivery(Reader):
    """A spool that can be read and delivered into."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.settings = SettingsFile(self.layout)
        self.disk = Disk(
            sync=self.settings.current().fsync,
            file_mode=self.dir_mode & 0o666,
            on=filesystem.about(root),
        )

    def make_directories(self) -> None:
        """Make what is missing of the spool. Raises SpoolUnusable if a part is no directory.

        A symbolic link is none: what is done in a spool stays in it.
        """
        for directory in self.layout.directories:
            self.disk.make_dir(directory, self.dir_mode)
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                raise SpoolUnusable(f"{directory} is {kind(os.lstat(directory).st_mode)}")

    def stage(self, job: Job) -> str:
        """Write a job under `tmp/`, durably, and return the path. Nothing is visible yet."""
        staged = self.layout.staged()
        self.disk.write(staged, job.encode())
        return staged

    def publish(self, job: Job, *, unique: bool) -> str:
        """Make a new job visible in `pending/` and durable; return its id.

        With `unique`, an id that somebody chose, it is refused if it stands in any state: the
        lock makes looking and publishing one step among all who publish under chosen ids.
        Raises IdTaken, NotDurable, OSError.
        """
        job_id = check_id(job.id or "")
        staged = self.stage(job)
        try:
            with locked(self.layout.id_lock, self.disk.file_mode) if unique else _no_lock():
                if unique:
                    self.refuse_taken(job_id)
                self.disk.publish(staged, self.layout.job("pending", job_id))
        except BaseException as error:
            discard(staged)
            if isinstance(error, FileExistsError):
                raise IdTaken(f"job {job_id} exists already (pending)") from None
            raise
        return job_id

    def publish_many(self, jobs: Iterable[tuple[Job, bool]]) -> list[str]:
        """Make many new jobs durable and visible, in order, all or none; return their ids.

        Each comes with whether its id is to be unique, as for `publish`. What raises while
        they are taken from the iterable ends it before anything is visible. Raises IdTaken,
        NotDurable, OSError.
        """
        ids: list[str] = []
        chosen: set[str] = set()

        def files() -> Iterator[tuple[str, bytes]]:
            for job, unique in jobs:
                job_id = check_id(job.id or "")
                if unique:
                    if job_id in chosen:
                        raise IdTaken(f"job {job_id} stands in the input twice")
                    chosen.add(job_id)
                ids.append(job_id)
                yield self.layout.staged(), job.encode()

        staged = self.disk.write_many(files())
        try:
            with locked(self.layout.id_lock, self.disk.file_mode) if chosen else _no_lock():
                for job_id in chosen:
                    self.refuse_taken(job_id)
                self.disk.publish_many(
                    [(s, self.layout.job("pending", i)) for s, i in zip(staged, ids, strict=True)]
                )
        except BaseException as error:
            for path in staged:
                discard(path)
            if isinstance(error, FileExistsError):
                raise IdTaken(f"{error.filename2} exists already") from None
            raise
        return ids

    def refuse_taken(self, job_id: str) -> None:
        """Raise IdTaken if a job of that id stands in any state."""
        if places := self.places(job_id):
            raise IdTaken(f"job {job_id} exists already ({places[0].state})")

    def write_beside(self, path: str, data: bytes) -> None:
        """Write a small file that is no job, whole or not at all, over an older one."""
        self.disk.overwrite(path, data, staged=self.layout.staged())
        self.disk.commit(os.path.dirname(path))


@contextlib.contextmanager
def _no_lock() -> Iterator[None]:
    yield

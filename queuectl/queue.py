"""The Python API: everything that the command line does. It returns data and prints nothing.

from queuectl import Queue

queue = Queue("/var/spool/thumbs")
job_id = queue.enqueue(["convert", "a.png", "-resize", "50%", "b.png"], timeout=60)
queue.wait([job_id])
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from queuectl import clock
from queuectl.disk.durable import create
from queuectl.errors import InvalidJob, NoSuchJob, WrongState
from queuectl.record import submission
from queuectl.record.job import Job, State, build
from queuectl.record.settings import Settings
from queuectl.spool import layout
from queuectl.spool.places import FINISHED, Place
from queuectl.spool.publish import publish, publish_many
from queuectl.spool.purge import purge_older
from queuectl.spool.spool import Spool, open_spool
from queuectl.view import output
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.view.output import Output
from queuectl.view.pages import Browser
from queuectl.view.status import (
    JobStatus,
    QueueStatus,
    WorkerStatus,
    job_status,
    newest,
    worker_status,
)

if TYPE_CHECKING:
    from queuectl.spool.integrity import Finding as Finding
    from queuectl.spool.watch import Watch as Watch
    from queuectl.worker.worker import Worker

LISTING_ORDER: tuple[State, ...] = ("processing", "pending", "failed", "dead", "completed")
"""The order in which the states are listed: running and waiting jobs before finished ones."""


def default_path() -> str:
    """Return $QUEUECTL_SPOOL, or the spool in the user's state directory."""
    if path := os.environ.get("QUEUECTL_SPOOL"):
        return path
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "queuectl")


class Queue:
    """A queue: one spool directory.

    `path` is the spool's directory (default: `default_path()`). If there is no spool, it is made;
    with `create=False`, SpoolUnusable is raised instead. Several threads may share a Queue, and any
    number of processes may use one spool.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, create: bool = True) -> None:
        self.spool: Spool = open_spool(os.fspath(path or default_path()), create=create)

    @property
    def path(self) -> str:
        """The spool's directory."""
        return self.spool.layout.root

    # -- enqueue ---------------------------------------------------------------------------

    def enqueue(
        self,
        command: str | Sequence[str],
        *,
        id: str | None = None,
        priority: int | None = None,
        delay: float | None = None,
        run_at: datetime | str | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> str:
        """Enqueue one job and return its id; on return the job is on disk.

        A string as `command` is run by /bin/sh; a sequence is executed as it is. The job starts
        `delay` seconds from now at the earliest, or at `run_at` (a datetime with its time zone, or
        RFC 3339 text). `timeout` is in seconds; a relative `cwd` is made absolute. Other keywords
        are kept in the record.
        Raises InvalidJob, IdTaken, NotDurable, OSError.
        """
        if isinstance(run_at, datetime):
            run_at = clock.format_timestamp(run_at.timestamp())
        fields = {
            **extra,
            "id": id,
            "command": command if isinstance(command, str) else list(command),
            "priority": priority,
            "run_at": run_at,
            "max_retries": max_retries,
            "timeout": timeout,
            "cwd": None if cwd is None else os.path.abspath(cwd),
            "env": None if env is None else dict(env),
        }
        return self.submit(submission.job_from(fields, delay=delay, now=clock.now()))

    def enqueue_many(
        self,
        jobs: Iterable[Mapping[str, Any]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """Enqueue many jobs, each a mapping of a job file's fields; return their ids.

        Either all are enqueued or none: none if a job is invalid or its id is taken. Jobs of equal
        priority run in the order given. This is far cheaper than to call `enqueue` for each job.
        `progress(n)` is called after the n-th job is written. Raises the same errors as `enqueue`;
        the message of InvalidJob says which job is invalid.
        """
        return self.submit_many(self._built(jobs), progress=progress)

    def submit(self, job: Job) -> str:
        """Enqueue a job record, as read from JSON; return its id. See `enqueue`."""
        record = submission.submitted(job, job.id or layout.new_id(), clock.now())
        return publish(self.spool, record, unique=job.id is not None)

    def submit_many(
        self, jobs: Iterable[Job], *, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Enqueue many job records; return their ids. See `enqueue_many`."""
        start = round(clock.now() * 1e6)

        def fresh() -> Iterator[tuple[Job, bool]]:
            for number, job in enumerate(jobs):
                # A microsecond apart, so that "oldest first" is the order of the batch.
                now = (start + number) / 1e6
                record = submission.submitted(job, job.id or layout.new_id(), now)
                yield record, job.id is not None
                if progress is not None:
                    progress(number + 1)

        return publish_many(self.spool, fresh())

    def _built(self, jobs: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
        for number, fields in enumerate(jobs, 1):
            try:
                yield build(fields)
            except InvalidJob as error:
                raise InvalidJob(f"job {number}: {error}") from None

    # -- look ------------------------------------------------------------------------------

    def get(self, id: str, *, exact: bool = False) -> JobStatus:
        """Return a job by its id or, unless `exact`, by a unique prefix of its id.

        Raises NoSuchJob, AmbiguousId.
        """
        place = self._find(id, exact)
        for _ in range(5):
            if status := job_status(self.spool.reader, place):
                return status
            place = self.spool.reader.find_exactly(place.id)
        raise NoSuchJob(f"job {id!r} keeps moving: try again")

    def list(self, state: State | None = None, *, limit: int | None = None) -> list[JobStatus]:
        """Return the jobs of one state or of all; within a state, the last changed job is first."""
        found: builtins.list[JobStatus] = []
        for each in (state,) if state else LISTING_ORDER:
            left = None if limit is None else limit - len(found)
            if left is None or left > 0:
                seen = (
                    job_status(self.spool.reader, p) for p in newest(self.spool.reader, each, left)
                )
                found.extend(status for status in seen if status is not None)
        return found

    def status(self) -> QueueStatus:
        """Return the number of jobs in each state, and the workers."""
        return QueueStatus(self.path, self.spool.reader.counts(), self.workers())

    def workers(self) -> builtins.list[WorkerStatus]:
        """Return the workers, each with the jobs that its slots are running."""
        return [worker_status(self.spool.reader, info) for info in self.spool.reader.workers()]

    def log_path(self, id: str, attempt: int | None = None, *, exact: bool = False) -> str:
        """Return the path of an attempt's log (default: the newest attempt's).

        Raises NoSuchJob if there is no such job or no such attempt.
        """
        status = self.get(id, exact=exact)
        newest = _newest_attempt(status)
        number = newest if attempt is None else attempt
        if not 1 <= number <= newest:
            had = f"has had no attempt {number} (it has had {newest})"
            raise NoSuchJob(f"job {status.id} {had if newest else 'has had no attempt yet'}")
        return self.spool.layout.log(status.id, number)

    def newest_attempt(self, id: str) -> int:
        """Return the number of a job's newest attempt, which may be running; 0 if it had none.

        `id` is the full id. Raises NoSuchJob.
        """
        return _newest_attempt(self.get(id, exact=True))

    def read_log(self, id: str, attempt: int, offset: int = 0) -> Iterator[bytes]:
        """Yield an attempt's output from an offset on; nothing if there is no log.

        `id` is the full id; the job itself may be gone. Raises OSError.
        """
        return output.read(self.spool.layout.log(id, attempt), offset)

    def follow(self, id: str, first: int = 1) -> Iterator[Output]:
        """Yield a job's output as it comes, from attempt `first` on, until the job has ended.

        A piece without data says that an attempt starts. `id` is the full id. Raises
        NoSuchJob, also if the job is removed meanwhile.
        """
        return output.follow(self.spool.reader, id, first)

    def ids(self, state: State) -> builtins.list[str]:
        """Return the ids of the jobs of a state; the last changed job is first."""
        return [place.id for place in newest(self.spool.reader, state)]

    def running(self, limit: int | None = None) -> builtins.list[JobStatus]:
        """Return the jobs in processing, at most `limit`."""
        places = islice(self.spool.reader.claims(), limit)
        return [status for place in places if (status := job_status(self.spool.reader, place))]

    def browser(self) -> Browser:
        """Return a Browser for lists of jobs; it keeps its listings from page to page."""
        return Browser(self.spool.reader)

    def watch(self, *, everything: bool = False) -> Watch:
        """Return a watch over the states of jobs and over the workers; its `arm` starts it.

        With `everything`, it also covers the spool's own directory, the removal of jobs, and the
        claims of running workers.
        """
        from queuectl.spool.watch import Watch

        paths = self.spool.layout
        directories = [*paths.states.values(), paths.workers]
        if everything:
            # Not the claims of commands: a retry or a cancel claims a job only for a moment, and
            # its directory may be gone before the watch covers it.
            workers = {info.name for info in self.spool.reader.workers()}
            claims = [paths.claims(n) for n in self.spool.reader.claimants() if n in workers]
            directories = [paths.root, *directories, paths.tmp, *claims]
        return Watch(directories)

    def follow_workers(self, watch: Watch) -> None:
        """Let a wait of this watch also end when a running worker's process dies."""
        for worker in self.spool.reader.workers():
            watch.follow(worker)

    def check(self, *, repair: bool = False) -> builtins.list[Finding]:
        """Return what is damaged in the spool; with `repair`, repair what can be repaired."""
        from queuectl.spool.integrity import check

        return check(self.spool, repair=repair)

    def wait(
        self,
        ids: Sequence[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, State]:
        """Wait until every job is completed or dead; return the states by full id.

        `timeout` is in seconds. `progress(n)` is called with the number of jobs that have ended.
        Raises TimedOut, AmbiguousId, and NoSuchJob, also if a job is removed meanwhile.
        """
        from queuectl.spool.waiting import wait_for_end

        exact = [self.spool.reader.find(text).id for text in ids]
        return wait_for_end(self.spool, exact, timeout=timeout, progress=progress)

    # -- change ----------------------------------------------------------------------------

    def cancel(self, id: str, *, exact: bool = False) -> State:
        """Cancel a job. A waiting job is dead at once; the command of a running job is ended.

        Returns "dead", or "processing" if a worker has been asked to end the command. Raises
        NoSuchJob, AmbiguousId, and WrongState if the job has already ended.
        """
        from queuectl.spool.by_hand import cancel

        return cancel(self.spool, self._find(id, exact).id)

    def retry(self, id: str, *, exact: bool = False) -> str:
        """Run a dead job again, or a failed one without waiting; return its id.

        The job moves to `pending/` with `attempts` 0; its history and logs are kept. Raises
        NoSuchJob, AmbiguousId, WrongState, and InvalidJob if its file is still not a valid job.
        """
        from queuectl.spool.by_hand import retry

        return retry(self.spool, self._find(id, exact))

    def purge(
        self,
        state: State,
        older_than: float = 0.0,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Remove for good the jobs that entered a state more than `older_than` seconds ago.

        Their logs are removed too. `state` is "completed" or "dead"; any other raises WrongState.
        `progress(n)` is called with the number of jobs removed so far. Returns that number.
        """
        count = 0
        for removed in self.removing(state, older_than):
            count += removed
            if progress is not None:
                progress(count)
        return count

    def removing(self, state: State, older_than: float = 0.0) -> Iterator[int]:
        """Purge in small steps; yield the number of jobs that each step has removed."""
        if state not in FINISHED:
            raise WrongState(
                f"{state} jobs cannot be purged: cancel them first, then purge the dead jobs"
            )
        return purge_older(self.spool, state, older_than)

    def stop_worker(self, name: str, *, now: bool = False) -> None:
        """Ask a worker to stop when its running jobs have ended or, with `now`, at once.

        Raises NoSuchJob if no such worker is running.
        """
        if not any(worker.name == name and worker.alive for worker in self.workers()):
            raise NoSuchJob(f"no worker {name!r}: `queuectl worker list` shows them")
        self.spool.write_beside(self.spool.layout.worker(name, "stop"), b"now\n" if now else b"")

    # -- workers ---------------------------------------------------------------------------

    def make_worker(
        self,
        slots: int = 1,
        *,
        drain: bool = False,
        observer: Observer = NO_OBSERVER,
        allow_shared: bool = False,
    ) -> Worker:
        """Return a worker of this queue; its `run` does the work.

        With `drain`, the worker exits when nothing is left to do. Raises SpoolUnusable if other
        users may write to the spool, unless `allow_shared`.
        """
        from queuectl.worker.worker import Worker

        self.spool.check_private(allow_shared=allow_shared)
        return Worker(self.spool, slots, drain=drain, observer=observer)

    def make_worker_log(self, name: str) -> str:
        """Make the log file of a worker in the background; return its path."""
        path = self.spool.layout.worker(name, "log")
        os.close(create(path, os.O_WRONLY, self.spool.disk.file_mode))
        return path

    # -- settings --------------------------------------------------------------------------

    @property
    def settings_path(self) -> str:
        """The path of `queue.toml`."""
        return self.spool.layout.settings

    @property
    def last_good_settings(self) -> Settings:
        """The settings from the last time `queue.toml` was read and valid."""
        return self.spool.settings.last_good

    @property
    def settings(self) -> Settings:
        """The settings that are in `queue.toml` now."""
        return self.spool.settings.current()

    def setting_values(self) -> dict[str, Any]:
        """Return the value of every setting: the one in the file, or the default.

        A value that is not allowed is given as text; `settings` raises the error about it.
        """
        return self.spool.settings.shown_values()

    def setting(self, key: str) -> Any:
        """Return one setting's value. Raises InvalidSetting if it is not valid, or unknown."""
        return self.spool.settings.value(key)

    def set_setting(self, key: str, text: str) -> Any:
        """Set a setting to a value written as text; return the value. Raises InvalidSetting."""
        return self.spool.settings.set(key, text, self.spool.disk)

    def unset_setting(self, key: str) -> None:
        """Remove a setting from the file, so that its default holds. Raises InvalidSetting."""
        self.spool.settings.unset(key, self.spool.disk)

    # -- inside ----------------------------------------------------------------------------

    def _find(self, id: str, exact: bool) -> Place:
        return self.spool.reader.find_exactly(id) if exact else self.spool.reader.find(id)


def _newest_attempt(status: JobStatus) -> int:
    if status.attempt is not None:
        return status.attempt
    return len(status.job.history) if status.job else 0

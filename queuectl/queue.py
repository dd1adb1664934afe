"""The Python API: everything that the command line does. It returns data and prints nothing.

from queuectl import Queue

queue = Queue("/var/spool/thumbs")
job_id = queue.enqueue(["convert", "a.png", "-resize", "50%", "b.png"], timeout=60)
queue.wait([job_id])
"""

from __future__ import annotations

import builtins
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl import arguments, clock
from queuectl.disk.reading import exists
from queuectl.errors import InvalidJob, NoSuchJob, WrongState
from queuectl.record import submission
from queuectl.record.job import Job, State, build
from queuectl.spool import layout
from queuectl.spool.places import FINISHED, Place
from queuectl.spool.publish import publish, publish_many
from queuectl.spool.purge import purge, purge_older
from queuectl.spool.spool import Spool, open_spool
from queuectl.upkeep import Upkeep
from queuectl.view import output
from queuectl.view.listing import by_state, in_order
from queuectl.view.output import Output
from queuectl.view.pages import SORTS, Browser, Sort
from queuectl.view.status import (
    JobStatus,
    QueueStatus,
    job_status,
    newest,
)

if TYPE_CHECKING:
    from queuectl.spool.integrity import Finding as Finding
    from queuectl.spool.watch import Watch as Watch

LISTING_ORDER: tuple[State, ...] = ("processing", "pending", "failed", "dead", "completed")
"""The order in which the states are listed: running and waiting jobs before finished ones."""


def default_path() -> str:
    """Return $QUEUECTL_SPOOL, or the spool in the user's state directory."""
    if path := os.environ.get("QUEUECTL_SPOOL"):
        return path
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "queuectl")


def is_spool(path: str | os.PathLike[str]) -> bool:
    """Whether a directory is a spool. Raises OSError if that cannot be found out."""
    return any(map(exists, layout.Layout(os.fspath(path)).marks))


class Queue(Upkeep):
    """A queue: one spool directory.

    `path` is the spool's directory (default: `default_path()`). If there is no spool, it is made;
    with `create=False`, SpoolUnusable is raised instead. Several threads may share a Queue, and any
    number of processes may use one spool.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, create: bool = True) -> None:
        self.spool: Spool = open_spool(os.fsdecode(path or default_path()), create=create)

    @property
    def path(self) -> str:
        """The spool's directory."""
        return self.spool.layout.root

    @property
    def is_open_to_all(self) -> bool:
        """Whether every user of this machine can read the jobs and their output."""
        return self.spool.dir_mode & 0o005 == 0o005 and all(
            os.stat(above).st_mode & stat.S_IXOTH for above in Path(self.path).parents
        )

    # -- enqueue ---------------------------------------------------------------------------

    def enqueue(
        self,
        command: str | Sequence[str],
        *,
        id: str | None = None,
        priority: int | None = None,
        delay: float | timedelta | None = None,
        run_at: datetime | str | None = None,
        max_retries: int | None = None,
        timeout: float | timedelta | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Enqueue one job and return its id; on return the job is on disk.

        A string as `command` is run by /bin/sh; a sequence is executed as it is. The job starts
        `delay` from now at the earliest, or at `run_at` (a datetime with its time zone, or RFC 3339
        text). `delay` and `timeout` are seconds or a timedelta; a relative `cwd` is made absolute.
        `extra` has keys of your own, which are kept in the record.
        Raises InvalidJob, InvalidInput, IdTaken, NotDurable, OSError.
        """
        if isinstance(run_at, datetime):
            run_at = clock.format_timestamp(run_at.timestamp())
        fields = {
            **arguments.extra(extra),
            "id": id,
            "command": arguments.command(command),
            "priority": priority,
            "run_at": run_at,
            "max_retries": max_retries,
            "timeout": arguments.seconds("timeout", timeout),
            "cwd": None if cwd is None else os.path.abspath(os.fsdecode(cwd)),
            "env": arguments.variables(env),
        }
        seconds = arguments.seconds("delay", delay)
        return self.submit(submission.job_from(fields, delay=seconds, now=clock.now()))

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
        job = arguments.one_job(job, Job, "job", "Job")
        record = submission.submitted(job, job.id or layout.new_id(), clock.now())
        return publish(self.spool, record, unique=job.id is not None)

    def submit_many(
        self, jobs: Iterable[Job], *, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Enqueue many job records; return their ids. See `enqueue_many`."""
        start = round(clock.now() * 1e6)

        def fresh() -> Iterator[tuple[Job, bool]]:
            for number, job in enumerate(arguments.jobs(jobs, Job, "Job")):
                # A microsecond apart, so that "oldest first" is the order of the batch.
                now = (start + number) / 1e6
                record = submission.submitted(job, job.id or layout.new_id(), now)
                yield record, job.id is not None
                if progress is not None:
                    progress(number + 1)

        return publish_many(self.spool, fresh())

    def _built(self, jobs: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
        wanted = arguments.jobs(jobs, Mapping, "mapping of a job's fields")
        for number, fields in enumerate(wanted, 1):
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

    def list(
        self,
        state: State | Sequence[State] | None = None,
        *,
        limit: int | None = None,
        search: str = "",
        sort: Sort | None = None,
    ) -> list[JobStatus]:
        """Return the jobs of one state, several or all, with a text in the id or command.

        By default, state by state: waiting jobs in the order in which they will run, the others
        with the last changed first. With `sort`, the jobs of all states are in one order: the last
        changed or created, the most urgent or most often attempted first, ids by the alphabet.
        Raises InvalidInput for an unknown state or order.
        """
        states = LISTING_ORDER if state is None else arguments.states(state)
        limit, search = arguments.count("limit", limit), arguments.text("search", search)
        if sort is None:
            return by_state(self.spool.reader, states, limit, search)
        order = arguments.choice("sort", sort, SORTS)
        return in_order(self.spool.reader, states, limit, search, order)

    def status(self) -> QueueStatus:
        """Return the number of jobs in each state, and the workers."""
        return QueueStatus(self.path, self.spool.reader.counts(), self.workers())

    def log_path(self, id: str, attempt: int | None = None, *, exact: bool = False) -> str:
        """Return the path of an attempt's log (default: the newest attempt's).

        Raises NoSuchJob if there is no such job or no such attempt.
        """
        status = self.get(id, exact=exact)
        newest = _newest_attempt(status)
        number = newest if (given := arguments.count("attempt", attempt)) is None else given
        if not 1 <= number <= newest:
            had = f"has had no attempt {number} (it has had {newest})"
            raise NoSuchJob(f"job {status.id} {had if newest else 'has had no attempt yet'}")
        return self.spool.layout.log(status.id, number)

    def newest_attempt(self, id: str) -> int:
        """Return the number of a job's newest attempt, which may be running; 0 if it had none.

        `id` is the full id. Raises NoSuchJob.
        """
        return _newest_attempt(self.get(id, exact=True))

    def read_log(
        self, id: str, attempt: int, offset: int = 0, *, tail: int | None = None
    ) -> Iterator[bytes]:
        """Yield an attempt's output from an offset on; nothing if there is no log.

        With `tail`, yield its last lines, that many at most. `id` is the full id; the job itself
        may be gone. Raises OSError.
        """
        path = self.spool.layout.log(arguments.text("id", id), attempt)
        if tail is not None:
            offset = output.last_lines(path, tail)
        return output.read(path, offset)

    def follow(self, id: str, first: int = 1, *, tail: int | None = None) -> Iterator[Output]:
        """Yield a job's output as it comes, from attempt `first` on, until the job has ended.

        A piece without data says that an attempt starts. With `tail`, attempt `first` begins with
        its last lines, that many at most. `id` is the full id. Raises
        NoSuchJob, also if the job is removed meanwhile.
        """
        return output.follow(self.spool.reader, arguments.text("id", id), first, tail)

    def ids(self, state: State) -> builtins.list[str]:
        """Return the ids of the jobs of a state; the last changed job is first."""
        return [place.id for place in newest(self.spool.reader, arguments.state(state))]

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

    def check(self, *, repair: bool = False) -> builtins.list[Finding]:
        """Return what is damaged in the spool; with `repair`, repair what can be repaired."""
        from queuectl.spool.integrity import check

        return check(self.spool, repair=repair)

    def wait(
        self,
        ids: str | Sequence[str],
        *,
        timeout: float | timedelta | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, State]:
        """Wait until every job is completed or dead; return the states by full id.

        `ids` is one id or several. `timeout` is seconds or a timedelta. `progress(n)` is called
        with the number of jobs that have ended.
        Raises TimedOut, AmbiguousId, and NoSuchJob, also if a job is removed meanwhile.
        """
        from queuectl.spool.waiting import wait_for_end

        exact = [self.spool.reader.find(text).id for text in arguments.ids(ids)]
        seconds = arguments.seconds("timeout", timeout)
        return wait_for_end(self.spool, exact, timeout=seconds, progress=progress)

    # -- change ----------------------------------------------------------------------------

    def cancel(self, id: str, *, exact: bool = False) -> State:
        """Cancel a job. A waiting job is dead at once; the command of a running job is ended.

        Returns "dead", or "processing" if a worker has been asked to end the command. Raises
        NoSuchJob, AmbiguousId, and WrongState if the job has already ended.
        """
        from queuectl.spool.by_hand import cancel

        return cancel(self.spool, self._find(id, exact))

    def retry(self, id: str, *, exact: bool = False) -> str:
        """Run a dead job again, or a failed one without waiting; return its id.

        The job moves to `pending/` with `attempts` 0; its history and logs are kept, and so is the
        time of a job that was cancelled before it. Raises
        NoSuchJob, AmbiguousId, WrongState, and InvalidJob if its file is still not a valid job.
        """
        from queuectl.spool.by_hand import retry

        return retry(self.spool, self._find(id, exact))

    def remove(self, id: str, *, exact: bool = False) -> str:
        """Remove a completed or dead job for good, with its logs; return its id.

        Raises NoSuchJob, AmbiguousId, and WrongState if the job has not ended.
        """
        place = self._find(id, exact)
        if place.state not in FINISHED:
            raise WrongState(f"job {place.id} is {place.state}: cancel it first")
        if not purge(self.spool, [place]):
            raise WrongState(f"job {place.id} has just moved: look again")
        self.spool.disk.commit(self.spool.layout.states[place.state])
        return place.id

    def purge(
        self,
        state: State,
        older_than: float | timedelta = 0.0,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Remove for good the jobs that entered a state longer ago than `older_than`.

        That is seconds or a timedelta. Their logs are removed too. `state` is "completed" or
        "dead"; any other raises WrongState.
        `progress(n)` is called with the number of jobs removed so far. Returns that number.
        """
        count = 0
        for removed in self.removing(state, older_than):
            count += removed
            if progress is not None:
                progress(count)
        return count

    def removing(self, state: State, older_than: float | timedelta = 0.0) -> Iterator[int]:
        """Purge in small steps; yield the number of jobs that each step has removed."""
        state, seconds = arguments.state(state), arguments.seconds("older_than", older_than) or 0.0
        if state not in FINISHED:
            raise WrongState(
                f"{state} jobs cannot be purged: cancel them first, then purge the dead jobs"
            )
        return purge_older(self.spool, state, seconds)

    # -- inside ----------------------------------------------------------------------------

    def _find(self, id: str, exact: bool) -> Place:
        text = arguments.text("id", id)
        return self.spool.reader.find_exactly(text) if exact else self.spool.reader.find(text)


def _newest_attempt(status: JobStatus) -> int:
    if status.attempt is not None:
        return status.attempt
    return len(status.job.history) if status.job else 0

"""The part of the Python API that keeps a queue at work: its workers, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from queuectl import arguments
from queuectl.errors import NoSuchJob
from queuectl.record.settings import Settings
from queuectl.spool.spool import Spool
from queuectl.view import output
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.view.status import WorkerStatus, worker_status

if TYPE_CHECKING:
    from queuectl.spool.watch import Watch
    from queuectl.worker.log_file import WorkerLog
    from queuectl.worker.worker import Worker


class Upkeep:
    """The workers and the settings of the queue in a spool."""

    spool: Spool

    # -- workers ---------------------------------------------------------------------------

    def workers(self) -> list[WorkerStatus]:
        """Return the workers, each with the jobs that its slots are running."""
        return [worker_status(self.spool.reader, info) for info in self.spool.reader.workers()]

    def has_no_worker_for(self, count: int) -> bool:
        """Whether no worker takes jobs, and no job is pending but the last `count`.

        A face says so once then, not after each of a loop's enqueues.
        """
        pending = self.spool.reader.names("pending")
        return next(islice(pending, count, None), None) is None and not any(
            worker.takes_jobs for worker in self.workers()
        )

    def follow_workers(self, watch: Watch) -> None:
        """Let a wait of this watch also end when a running worker's process dies."""
        for worker in self.spool.reader.workers():
            watch.follow(worker)

    def stop_worker(self, name: str, *, now: bool = False) -> None:
        """Ask a worker to stop when its running jobs have ended or, with `now`, at once.

        Raises NoSuchJob if no such worker is running.
        """
        if not any(worker.name == name and worker.alive for worker in self.workers()):
            raise NoSuchJob(f"no worker {name!r}: `queuectl worker list` shows them")
        self.spool.write_beside(self.spool.layout.worker(name, "stop"), b"now\n" if now else b"")

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
        users may write to the spool, unless `allow_shared`; QueuectlError if the limit on open
        files is too low; OSError if the worker's name cannot be reserved.
        """
        from queuectl.worker.worker import Worker

        self.spool.check_private(allow_shared=allow_shared)
        return Worker(self.spool, slots, drain=drain, observer=observer)

    def make_worker_log(self, name: str) -> WorkerLog:
        """Make the log of a worker in the background; return it as a stream for `logging`.

        A full log is renamed, and one that was renamed or removed is made again. Raises OSError.
        """
        from queuectl.worker.log_file import WorkerLog

        return WorkerLog(self.spool, name)

    def worker_logs(self) -> list[str]:
        """Return the names of the workers that have a log: those started in the background."""
        return self.spool.reader.worker_logs()

    def read_worker_log(
        self, name: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yield the log of a worker that runs, or ran, in the background.

        With `tail`, yield its last lines, that many at most; with `follow`, go on until the worker
        has exited. Raises NoSuchJob if it has no log.
        """
        if name not in self.worker_logs():
            raise NoSuchJob(f"worker {name!r} has no log: only one started with --detach has")
        path = self.spool.layout.worker(name, "log")
        offset = 0 if tail is None else output.last_lines(path, tail)

        def over() -> bool:
            return not follow or not any(w.name == name and w.alive for w in self.workers())

        return output.grow(path, offset, over)

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
        return self.spool.settings.value(arguments.text("key", key))

    def set_setting(self, key: str, text: str) -> Any:
        """Set a setting to a value written as text; return the value. Raises InvalidSetting."""
        return self.spool.settings.set(arguments.text("key", key), text, self.spool.disk)

    def settings_text(self) -> str:
        """Return the text of `queue.toml`. Raises InvalidSetting if it cannot be read."""
        return self.spool.settings.text()

    def replace_settings_text(self, before: str, after: str) -> None:
        """Write a new text of `queue.toml` in place of the one that was read, if it is valid.

        Raises InvalidSetting, also if the file has been changed meanwhile.
        """
        self.spool.settings.replace(before, after, self.spool.disk)

    def unset_setting(self, key: str) -> None:
        """Remove a setting from the file, so that its default holds. Raises InvalidSetting."""
        self.spool.settings.unset(arguments.text("key", key), self.spool.disk)

"""Who holds claims: a process that keeps the lock on `workers/NAME.lock` for life.

The kernel releases the lock when the process ends, however it ends. Whoever can take the lock knows
that the holder is dead: no pid, clock or heartbeat decides it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from queuectl import host
from queuectl.disk.durable import discard
from queuectl.disk.locks import make_locked, try_lock
from queuectl.disk.reading import exists
from queuectl.record.encoding import encode
from queuectl.record.running import WorkerInfo
from queuectl.spool import layout
from queuectl.spool.spool import Spool


class Holder:
    """A process's right to hold claims, from its start to its end.

    `info` makes it a worker that is listed; without it, it is a command that takes a job for
    a moment to change it.
    """

    def __init__(self, spool: Spool, info: WorkerInfo | None = None) -> None:
        self.spool = spool
        self.name = info.name if info else layout.new_worker(host.hostname(), os.getpid())
        paths = spool.layout
        self._lock = make_locked(
            paths.worker(self.name, "lock"), paths.staged(), spool.disk.file_mode
        )
        try:
            if info:
                spool.write_beside(paths.worker(self.name, "json"), encode(info))
            spool.disk.make_dir(paths.claims(self.name), spool.dir_mode)
        except BaseException:
            self.leave()
            raise

    def is_valid(self) -> bool:
        """Whether the lock file still has its name: if not, others take this holder for dead."""
        path = self.spool.layout.worker(self.name, "lock")
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._lock))
        except FileNotFoundError:
            return False

    def leave(self) -> None:
        """Give up the right; claims that are still there are left to recovery."""
        with contextlib.suppress(FileNotFoundError, OSError):
            remove_holder(self.spool, self.name)
        os.close(self._lock)

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def dead_holders(spool: Spool, *, make_locks: bool = True) -> Iterator[str]:
    """Name the holders that died and left something, each while its lock is ours.

    The lock is released when the next name is asked for. A lock file that somebody has removed is
    made again, and removed if the holder has only just left; not without `make_locks`, for those
    who only look.
    """
    locks = {
        name.removesuffix(".lock")
        for name in os.listdir(spool.layout.workers)
        if name.endswith(".lock")
    }
    claimants = set(spool.reader.claimants())
    for name in sorted(locks | claimants):
        path = spool.layout.worker(name, "lock")
        if name not in locks and not make_locks:
            if os.path.isdir(spool.layout.claims(name)) and not exists(path):
                yield name
            continue
        try:
            lock = try_lock(path, make_with=None if name in locks else spool.disk.file_mode)
        except OSError:
            continue
        if lock is None:
            continue
        try:
            if name in locks or os.path.isdir(spool.layout.claims(name)):
                yield name
            else:
                discard(path)
        finally:
            os.close(lock)


def remove_holder(spool: Spool, name: str) -> None:
    """Remove all files of a holder whose claims are settled; the lock goes last.

    Raises OSError if claims are left, or hooks that were not run.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rmdir(spool.layout.hooks(name))
    directory = spool.layout.claims(name)
    if os.path.isdir(directory):
        files = [layout.parse_claim(file) for file in os.listdir(directory)]
        jobs = {parts[:2] for parts in files if parts and parts[2] == "json"}
        for parts in files:
            if parts and parts[2] != "json" and parts[:2] not in jobs:
                discard(spool.layout.claim(name, *parts))
        os.rmdir(directory)
    for ending in ("stop", "json", "lock"):
        discard(spool.layout.worker(name, ending))

"""Who holds claims: a process that keeps the lock on `workers/NAME.lock` for life.

The kernel releases the lock when the process ends, however it ends. Whoever can take the lock knows
that the holder is dead: no pid, clock or heartbeat decides it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from queuectl import host
from queuectl.disk.durable import discard
from queuectl.disk.locks import try_lock
from queuectl.disk.reading import exists
from queuectl.errors import SpoolUnusable
from queuectl.record.encoding import encode
from queuectl.record.running import WorkerInfo
from queuectl.spool import layout
from queuectl.spool.spool import Spool

_MOST_NAMES = 1000
"""How many names are tried: more cannot be taken by chance."""


class LockedName(NamedTuple):
    """A holder's name, and the descriptor that locks it."""

    name: str
    lock: int


class Holder:
    """A process's right to hold claims, from its start to its end.

    `info` makes it a worker that is listed; without it, it is a command that takes a job for
    a moment to change it. `name` is one that `reserve` has given before.
    """

    def __init__(
        self, spool: Spool, info: WorkerInfo | None = None, name: LockedName | None = None
    ) -> None:
        self.spool = spool
        self.name, self._lock = name or reserve(spool)
        paths = spool.layout
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
            return os.path.samestat(os.lstat(path), os.fstat(self._lock))
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


def reserve(spool: Spool) -> LockedName:
    """Lock a name that no other holder has, dead or alive. Raises SpoolUnusable, OSError.

    Containers may share the host's name and have equal process ids, so only the file system can
    tell whether a name is free. The lock file is made under its name, because a link may be
    another file to the kernel than the one that was locked (FUSE).
    """
    paths = spool.layout
    for _ in range(_MOST_NAMES):
        name = layout.new_worker(host.hostname(), os.getpid())
        try:
            lock = try_lock(paths.worker(name, "lock"), make_with=spool.disk.file_mode, is_new=True)
        except (FileExistsError, FileNotFoundError):
            continue
        if lock is None:  # recovery was first, took it for that of a dead holder, and removes it
            continue
        left = (paths.claims(name), paths.worker(name, "json"), paths.worker(name, "stop"))
        if not any(map(exists, left)):
            return LockedName(name, lock)
        os.close(lock)  # recovery removes it, and what a dead worker of this name has left
    raise SpoolUnusable(f"{paths.workers}: {_MOST_NAMES} names of workers are taken")


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

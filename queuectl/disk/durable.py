"""The steps of the protocol: writes, renames and removals, each with what makes it durable.

Three facts about POSIX file systems make the protocol durable:

- the bytes of a file are on disk once the file has been fsynced;
- its name is on disk once the directory that holds the name has been fsynced;
- a rename is atomic for every process that looks, but it survives a power cut only once its
  directory has been fsynced.

Each method of `Disk` is one step of the protocol, and its docstring says what commits the step.
On a file system that is known to promise more than POSIX, the same takes fewer fsyncs.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterable, Sequence

from queuectl import slot_lock
from queuectl.disk import renames
from queuectl.disk.filesystem import UNKNOWN, FileSystem
from queuectl.disk.modes import set_new_mode
from queuectl.errors import NotDurable

_WAIT_WRITE_WAIT = 7  # SYNC_FILE_RANGE_WAIT_BEFORE | _WRITE | _WAIT_AFTER
_F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: flushes the drive too


class Disk:
    """Writes, renames and removes the files of one spool.

    With `sync` False nothing is fsynced: every rename is still atomic, but a power cut may lose
    acknowledged jobs. `file_mode` is the mode of every new file. `on` describes the file system
    that all the files are on.
    """

    def __init__(
        self, *, sync: bool = True, file_mode: int = 0o600, on: FileSystem = UNKNOWN
    ) -> None:
        self.sync = sync
        self.file_mode = file_mode
        self.on = on

    def write(self, path: str, data: bytes) -> None:
        """Write a new file and force its bytes to disk; on failure nothing is left of it.

        The file survives a power cut once it has its final name and that name is committed.
        """
        fd = create(path, os.O_WRONLY | os.O_EXCL, self.file_mode)
        try:
            try:
                write_all(fd, data)
                self._force(fd, path)
            finally:
                os.close(fd)
        except BaseException:
            discard(path)
            raise

    def write_many(self, files: Iterable[tuple[str, bytes]]) -> list[str]:
        """Write new files and force all their bytes to disk; on failure none of them is left.

        Returns their paths. Where one syncfs(2) makes a whole file system durable, a thousand
        files cost about as much as one; elsewhere each file is fsynced.
        """
        quick = Disk(sync=False, file_mode=self.file_mode)
        written: list[str] = []
        try:
            for path, data in files:
                quick.write(path, data)
                written.append(path)
            if self.sync and written:
                self._sync_files(written)
        except BaseException:
            for path in written:
                discard(path)
            raise
        return written

    def publish_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give written files their final names, in order, as `publish` does for one file.

        The names may be in several directories. If a rename or the commit fails, the files that
        have their final names already get their old names back, except those that another
        process has moved meanwhile.
        """
        renamed: list[tuple[str, str]] = []
        try:
            for staged, target in pairs:
                renames.exclusive(staged, target)
                renamed.append((staged, target))
            changed = [os.path.dirname(target) for _, target in renamed]
            self.commit(*reversed(dict.fromkeys(reversed(changed))))  # ordered by last change
        except BaseException:
            for staged, target in renamed:
                with contextlib.suppress(OSError):
                    os.rename(target, staged)
            raise

    def publish(self, staged: str, target: str) -> None:
        """Give a written file its final name, which must be free; on return it is durable.

        Raises FileExistsError if the name is taken; `staged` is then left as it is.
        """
        renames.exclusive(staged, target)  # the commit point for every process that looks
        self.commit(os.path.dirname(target))  # the commit point for a power cut

    def move(self, source: str, target: str) -> list[str]:
        """Move a file to a free name in another directory.

        Returns the directories to `commit`, in order. Raises FileExistsError, FileNotFoundError.
        """
        renames.exclusive(source, target)
        return _moved(source, target)

    def take(self, source: str, target: str) -> list[str]:
        """Move a file into a directory that only the caller writes to.

        Several processes may try to take one file: the rename succeeds for one of them and
        raises FileNotFoundError for the others. Returns the directories to `commit`, in order.
        """
        renames.rename(source, target)
        return _moved(source, target)

    def replace(self, staged: str, target: str) -> None:
        """Rename a written file over an older one; a `commit` of the directory makes it durable.

        If the rename fails, `staged` is removed.
        """
        try:
            renames.rename(staged, target)
        except BaseException:
            discard(staged)
            raise

    def overwrite(self, path: str, data: bytes, *, staged: str) -> None:
        """Replace a file's content: write the new file as `staged`, then rename it to `path`.

        A `commit` of the directory makes the rename durable. On failure the older file is
        unchanged and nothing is left of the new one.
        """
        self.write(staged, data)
        self.replace(staged, path)

    def appear(self, path: str, data: bytes, *, staged: str) -> None:
        """Make a file that is whole when it is first seen, or replace an older one.

        A new file gets its name by a link, which a watch reports as a new file; a rename into a
        directory of claims is not reported. A `commit` of the directory makes it durable.
        """
        self.write(staged, data)
        try:
            os.link(staged, path)
        except OSError:  # there is one, or this file system has no links
            self.replace(staged, path)
        else:
            discard(staged)

    def renew(self, path: str, data: bytes, *, staged: str) -> None:
        """Replace the content of a file as `overwrite` does, but never make the file again.

        Raises FileNotFoundError if the file is gone, also if it was moved away while the new
        bytes were forced to disk.
        """
        self.write(staged, data)
        try:
            renames.over(staged, path)
        except BaseException:
            discard(staged)
            raise

    def remove(self, path: str) -> None:
        """Remove a file, durably; a file that is missing already is not an error."""
        discard(path)
        self.commit(os.path.dirname(path))

    def make_dir(self, path: str, mode: int) -> None:
        """Make a directory, durably, with exactly this mode; an existing one is left as it is."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        set_new_mode(path, mode)
        self.commit(path, os.path.dirname(path) or ".")

    def commit(self, *directories: str) -> None:
        """Force the names in these directories to disk, in this order. Raises NotDurable.

        The caller names the directory that was changed last as the last one. Where all changes
        go through one log, the fsync of that directory commits all of them.
        """
        if not self.sync:
            return
        for path in directories[-1:] if self.on.has_one_log else dict.fromkeys(directories):
            self._sync_path(path, os.O_RDONLY | os.O_DIRECTORY)

    def commit_later(self, *directories: str) -> list[str]:
        """Begin a commit, and return the directories that the caller has to `commit` later.

        Where each directory reaches the disk by itself, all but the last are committed now:
        otherwise a later change could reach the disk before them. Raises NotDurable.
        """
        later = 0 if self.on.has_one_log else len(directories) - 1
        self.commit(*directories[:later])
        return list(directories[later:])

    def _force(self, fd: int, path: str) -> None:
        """Force a new file's bytes to disk, so that the file is whole under its next name."""
        if self.sync and self.on.has_one_log:
            _write_out(fd, path)
        else:
            self._fsync(fd, path)

    def _sync_files(self, paths: Sequence[str]) -> None:
        if self.on.syncs_as_one:
            _sync_file_system(os.path.dirname(paths[0]))
            return
        for path in paths:
            self._sync_path(path, os.O_RDONLY)

    def _sync_path(self, path: str, flags: int) -> None:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
            try:
                self._fsync(fd, path)
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise
        except OSError as error:  # the file was renamed all the same
            raise NotDurable(f"{path}: cannot be made durable: {error.strerror}") from error

    def _fsync(self, fd: int, path: str) -> None:
        if not self.sync:
            return
        try:
            with slot_lock.released():
                if _F_FULLFSYNC is not None:
                    fcntl.fcntl(fd, _F_FULLFSYNC)
                else:
                    os.fsync(fd)
        except OSError as error:
            # After a failed fsync the kernel may drop the pages and report success next time
            # (fsyncgate, 2018): the data is not durable, and a second fsync would not change that.
            raise NotDurable(f"{path}: cannot be made durable: {error.strerror}") from error


def _moved(source: str, target: str) -> list[str]:
    """Return the directories that a move changes, in the order in which to commit them.

    The target's directory comes first: after a power cut between the two commits the file may
    have both names, but never neither.
    """
    return [os.path.dirname(target), os.path.dirname(source)]


def create(path: str, flags: int, mode: int) -> int:
    """Open a file; make it with exactly this mode if it is missing. Refuses symbolic links.

    The umask may have removed bits for group and others from the mode, so a mode that has such
    bits is set again; not of a file that has another user, or another name too.
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    if mode & 0o077 and (flags & os.O_EXCL or _is_ours_alone(fd)):
        with contextlib.suppress(PermissionError):  # a file system without modes
            os.fchmod(fd, mode)
    return fd


def _is_ours_alone(fd: int) -> bool:
    found = os.fstat(fd)
    return found.st_uid == os.geteuid() and found.st_nlink == 1


def write_all(fd: int, data: bytes) -> None:
    """Write all the bytes; after a short write, go on with the rest."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def discard(path: str) -> None:
    """Remove a file if it exists. Not durable: the file may be back after a power cut."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def discard_tree(path: str) -> None:
    """Remove a file, or a directory with everything in it, if it exists. Not durable."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        discard(path)


def _write_out(fd: int, path: str) -> None:
    """Write a file's bytes to disk and wait until they are written, without a commit of the log.

    An fsync would write the bytes too, but it also commits the log, which the rename that
    follows has to commit again anyway. Without this call the kernel would write the bytes some
    time after the commit of the name: a power cut in between leaves an empty file.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    whole = (ctypes.c_int64(0), ctypes.c_int64(0))  # offset 0, length 0: up to the end
    with slot_lock.released():
        failed = libc.sync_file_range(fd, *whole, _WAIT_WRITE_WAIT) != 0
    if failed:
        reason = os.strerror(ctypes.get_errno())
        raise NotDurable(f"{path}: cannot be made durable: {reason}")


def _sync_file_system(directory: str) -> None:
    """Make everything in a file system durable with one syncfs(2).

    Raises NotDurable if a write failed (the kernel reports that since Linux 5.8).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(fd) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NotDurable(f"{directory}: cannot be made durable: {reason}")
    finally:
        os.close(fd)

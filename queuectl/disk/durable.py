"""The only module that renames, links or fsyncs.

Durability rests on three facts of POSIX file systems. A file is on disk once it has been
fsynced; its name is on disk once the directory that holds the name has been fsynced; a rename
is atomic to everyone who looks, but only the fsync of its directory makes it last. Each
function here does one step of the protocol and says where it is committed. Where more is known
of the file system, the same is reached with fewer commits.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Sequence

from queuectl import slot_lock
from queuectl.disk.filesystem import UNKNOWN, FileSystem
from queuectl.errors import NotDurable

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_WAIT_WRITE_WAIT = 7  # SYNC_FILE_RANGE_WAIT_BEFORE | _WRITE | _WAIT_AFTER
_NO_SUCH_CALL = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: past the drive's cache


class Disk:
    """How files of one spool are written: durably or not, and with which mode.

    `sync` False gives up durability for speed: every rename stays atomic, but a power cut may
    lose what was acknowledged. `file_mode` is the mode of every file made. `on` is what is
    known of the file system that they are all on.
    """

    def __init__(
        self, *, sync: bool = True, file_mode: int = 0o600, on: FileSystem = UNKNOWN
    ) -> None:
        self.sync = sync
        self.file_mode = file_mode
        self.on = on

    def write(self, path: str, data: bytes) -> None:
        """Write a new file and force its bytes to disk; nothing is left of it on failure.

        Its name, and with it the file, lasts once the directory that it is moved into has been
        committed.
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
        """Write new files and force all their bytes to disk at once; all or none are left.

        Where one syncfs(2) makes a whole file system durable (Linux, on file systems known to
        do so), a thousand files cost about as much as one; elsewhere each is fsynced.
        """
        quick = Disk(sync=False, file_mode=self.file_mode)
        written: list[str] = []
        try:
            for path, data in files:
                quick.write(path, data)
                written.append(path)
            if self.sync and written:
                if self.on.syncs_as_one:
                    _sync_file_system(os.path.dirname(written[0]))
                else:
                    for path in written:
                        self._sync_path(path, os.O_RDONLY)
        except BaseException:
            for path in written:
                discard(path)
            raise
        return written

    def publish_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give written files their final names, in order, as `publish` does for one.

        The names may be in several directories. If one cannot be given, those given so far
        are taken back, except where somebody has moved the file on meanwhile.
        """
        given: list[tuple[str, str]] = []
        try:
            for staged, target in pairs:
                _rename_exclusive(staged, target)
                given.append((staged, target))
            changed = [os.path.dirname(target) for _, target in given]
            self.commit(*reversed(dict.fromkeys(reversed(changed))))  # by their last change
        except BaseException:
            for staged, target in given:
                with contextlib.suppress(OSError):
                    os.rename(target, staged)
            raise

    def publish(self, staged: str, target: str) -> None:
        """Give a written file its final name, which must be free; on return it is durable.

        Raises FileExistsError, and leaves `staged`, if the name is taken.
        """
        _rename_exclusive(staged, target)  # the commit point for everyone who looks
        self.commit(os.path.dirname(target))  # and for a power cut

    def move(self, source: str, target: str) -> list[str]:
        """Move a file to a free name in another directory; return what to `commit`, in order.

        Raises FileExistsError, FileNotFoundError.
        """
        _rename_exclusive(source, target)
        return _moved(source, target)

    def take(self, source: str, target: str) -> list[str]:
        """Move a file into a directory that is the caller's alone; return what to `commit`.

        One plain rename decides between all who want it: FileNotFoundError is another's win.
        """
        os.rename(source, target)
        return _moved(source, target)

    def replace(self, staged: str, target: str) -> None:
        """Give a written file the name of an older one; a `commit` makes that durable.

        If the rename fails, `staged` is removed.
        """
        try:
            os.rename(staged, target)
        except BaseException:
            discard(staged)
            raise

    def overwrite(self, path: str, data: bytes, *, staged: str) -> None:
        """Write a file, whole or not at all, over an older one: first as `staged`, then renamed.

        A `commit` of the path's directory makes it durable. On failure the older file is
        unchanged and nothing is left of the new one.
        """
        self.write(staged, data)
        self.replace(staged, path)

    def remove(self, path: str) -> None:
        """Remove a file for good; one that is gone already is no error."""
        discard(path)
        self.commit(os.path.dirname(path))

    def make_dir(self, path: str, mode: int) -> None:
        """Make a directory, durably, with exactly this mode; one that exists is left alone."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        os.chmod(path, mode)
        self.commit(path, os.path.dirname(path) or ".")

    def commit(self, *directories: str) -> None:
        """Force the names in these directories to disk, in this order. Raises NotDurable.

        The last one is that which was changed last. Where all changes go through one log, its
        commit is the commit of them all.
        """
        if not self.sync:
            return
        for path in directories[-1:] if self.on.has_one_log else dict.fromkeys(directories):
            self._sync_path(path, os.O_RDONLY | os.O_DIRECTORY)

    def commit_later(self, *directories: str) -> list[str]:
        """Begin a commit, and return the directories with which it is to be ended later.

        Where directories reach the disk one by one, all but the last must do so now: a change
        to come might otherwise be there before them. Raises NotDurable.
        """
        later = 0 if self.on.has_one_log else len(directories) - 1
        self.commit(*directories[:later])
        return list(directories[later:])

    def _force(self, fd: int, path: str) -> None:
        """Force a new file's bytes to disk, so that it is whole wherever its name will be."""
        if self.sync and self.on.has_one_log:
            _write_out(fd, path)
        else:
            self._fsync(fd, path)

    def _sync_path(self, path: str, flags: int) -> None:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
            try:
                self._fsync(fd, path)
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise
        except OSError as error:  # what was renamed stands under its new name all the same
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
            # (fsyncgate, 2018): the data is not durable, and asking again would not make it so.
            raise NotDurable(f"{path}: cannot be made durable: {error.strerror}") from error


def _moved(source: str, target: str) -> list[str]:
    """The directories that a move changes, in the order in which they are to be committed.

    The target's comes first: a power cut between the two may show the file under both names,
    never under none.
    """
    return [os.path.dirname(target), os.path.dirname(source)]


def create(path: str, flags: int, mode: int) -> int:
    """Open a file, making it if need be with exactly this mode; symbolic links are refused.

    The umask may only take away from a mode, so it is set once more where it grants something
    to others; a file that is another's keeps the mode it has.
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    if mode & 0o077:
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, mode)
    return fd


def write_all(fd: int, data: bytes) -> None:
    """Write every byte: a short write is no error, only the first part."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def discard(path: str) -> None:
    """Remove a file if it is there; nothing depends on when that reaches the disk."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def discard_tree(path: str) -> None:
    """Remove a file, or a directory with all that is in it, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        discard(path)


def _find_renameat2() -> ctypes._NamedFuncPointer | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    return function


_renameat2 = _find_renameat2()


def _write_out(fd: int, path: str) -> None:
    """Write a file's bytes to where they belong, and wait for it, without committing anything.

    A commit alone would do the same, and cost as much again as that of the rename which follows.
    Left to the kernel the bytes would be written some time after the commit of the name: a power
    cut in between shows an empty file.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    whole = (ctypes.c_int64(0), ctypes.c_int64(0))  # from the start to the end
    with slot_lock.released():
        failed = libc.sync_file_range(fd, *whole, _WAIT_WRITE_WAIT) != 0
    if failed:
        reason = os.strerror(ctypes.get_errno())
        raise NotDurable(f"{path}: cannot be made durable: {reason}")


def _sync_file_system(directory: str) -> None:
    """Make all of a file system durable at once.

    Raises NotDurable if the kernel tried and failed (it reports write errors since Linux 5.8).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(fd) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NotDurable(f"{directory}: cannot be made durable: {reason}")
    finally:
        os.close(fd)


def _rename_exclusive(source: str, target: str) -> None:
    """Rename without ever overwriting: FileExistsError if the target's name is taken.

    renameat2(RENAME_NOREPLACE) where it exists (Linux; not on NFS), else link and unlink,
    between which the file has two names: whoever finds two names of one inode removes the one
    in the earlier state.
    """
    if _renameat2 is not None:
        done = _renameat2(
            _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
        )
        if done == 0:
            return
        code = ctypes.get_errno()
        if code not in _NO_SUCH_CALL:
            raise OSError(code, os.strerror(code), source, None, target)
    if stat.S_ISDIR(os.lstat(source).st_mode):  # no job: rename replaces an empty one at most
        os.rename(source, target)
        return
    os.link(source, target, follow_symlinks=False)
    try:
        os.unlink(source)
    except OSError:
        discard(target)  # not both: whoever tries again would find its own file in the way
        raise

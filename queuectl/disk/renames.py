"""The three ways in which a file gets another name, on file systems with and without renameat2(2).

None of them is durable by itself: see `durable.Disk`, which calls them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat

from queuectl.disk.reading import exists, same_file

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_NO_SUCH_CALL = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


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


def exclusive(source: str, target: str) -> None:
    """Rename without overwriting: FileExistsError if the target exists.

    Uses renameat2(RENAME_NOREPLACE) where that exists (Linux, but not on NFS), else link and
    unlink. Between those two the file has two names, and another process may remove the source
    (see `claims.name_to_remove`), but never the target.

    A network file system may send a call again whose answer was lost, and then answers that the
    target exists, or that the source does not, because the first call was carried out; or it gives
    up waiting for the answer (ETIMEDOUT). So the names decide, not the answer.
    """
    if _renamed_in_one_call(source, target):
        return
    if stat.S_ISDIR(os.lstat(source).st_mode):  # not a job; a rename overwrites only an empty one
        os.rename(source, target)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        if not same_file(source, target):
            raise
    try:
        os.unlink(source)
    except OSError:
        if not same_file(source, target):
            return  # the source is gone: the target is the only name now
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)  # with both names left, the next try would find the target taken
        raise


def rename(source: str, target: str) -> None:
    """Rename. An answer that is an error is ignored if the rename was carried out: see above."""
    before = os.lstat(source)
    try:
        os.rename(source, target)
    except OSError:
        if not _is_now(target, before):
            raise


def _is_now(path: str, file: os.stat_result) -> bool:
    """Whether a path is now a name of this file, as far as that can be found out."""
    with contextlib.suppress(OSError):
        return os.path.samestat(file, os.lstat(path))
    return False


def over(staged: str, target: str) -> None:
    """Rename a written file over a file that must exist. Raises FileNotFoundError if it is gone.

    renameat2(RENAME_EXCHANGE) needs both names; the older file is removed under its new one.
    Where that call is missing, the look and the rename are two steps, a few microseconds apart.
    """
    if _renamed_in_one_call(staged, target, _RENAME_EXCHANGE):
        with contextlib.suppress(OSError):  # a leftover of tmp/, which is swept
            os.unlink(staged)
        return
    os.lstat(target)
    rename(staged, target)


def _renamed_in_one_call(source: str, target: str, flag: int = _RENAME_NOREPLACE) -> bool:
    """Rename by renameat2(2); False if the kernel or the file system does not have it."""
    if _renameat2 is None:
        return False
    before = os.lstat(source)
    done = _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    if _is_now(target, before) and (flag == _RENAME_EXCHANGE or not exists(source)):
        return True  # carried out all the same
    raise OSError(code, os.strerror(code), source, None, target)

"""What is known of the file system that a directory is on: which shortcuts it can be trusted with.

Every file system that is not known by name gets the order of calls that POSIX promises something
for. Each shortcut stands for one that was tried by cutting its power.
"""

from __future__ import annotations

import ctypes
import os
import sys

from msgspec import Struct

_EXT4, _XFS, _BTRFS, _TMPFS = 0xEF53, 0x58465342, 0x9123683E, 0x01021994  # statfs(2) f_type


class FileSystem(Struct, frozen=True):
    """The shortcuts that a file system can be trusted with.

    `syncs_as_one`: one syncfs(2) makes all that is in it durable. FUSE and NFS may leave that to
    the server. `has_one_log`: all changes of names and sizes go through one log in their order
    (ext4 with a journal, XFS). There the fsync of the directory that was changed last makes every
    earlier change last too, and a file whose bytes were written out before it was renamed is
    whole if its name is there, though the file itself was never fsynced. On btrfs, where each
    fsync logs what it takes to be needed, and on ext4 without a journal neither holds.
    """

    syncs_as_one: bool = False
    has_one_log: bool = False


UNKNOWN = FileSystem()


def about(directory: str) -> FileSystem:
    """Tell what is known of the file system that a directory is on."""
    kind = _kind(directory)
    journalled = kind == _EXT4 and _has_journal(directory)
    return FileSystem(
        syncs_as_one=kind in (_EXT4, _XFS, _BTRFS, _TMPFS),
        has_one_log=journalled or kind == _XFS,
    )


def _kind(directory: str) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    found = ctypes.create_string_buffer(256)  # struct statfs; f_type is its first long
    if ctypes.CDLL(None).statfs(os.fsencode(directory), found) != 0:
        return None
    return ctypes.c_ulong.from_buffer(found).value


def _has_journal(directory: str) -> bool:
    """Whether an ext4 has its journal in itself: the kernel lists it under its device's name."""
    device = os.stat(directory).st_dev
    try:
        link = os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    except OSError:
        return False
    return os.path.isdir(f"/proc/fs/jbd2/{os.path.basename(link)}-8")

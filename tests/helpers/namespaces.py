"""Mount namespaces beside disks: a namespace copies every mount, and keeps an unmounted one alive.

A disk whose power is cut is unmounted and mounted again. With a copy of its mount elsewhere it
would come back as it was in memory. So no namespace is made while a disk is unmounted, and a
namespace unmounts the disks of other tests before it goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator

FORGET_DISKS = (
    """awk '$1 ~ "^/dev/loop" || $3 ~ "^fuse" {print $2}' /proc/mounts | sort -r | """
    'while read -r disk; do umount -l "$(printf \'%b\' "$disk")"; done'
)
"""The first command of a shell in a new mount namespace."""


def disks_change() -> contextlib.AbstractContextManager[None]:
    """Unmount and mount disks meanwhile: no namespace is made."""
    return _locked(fcntl.LOCK_SH)


def a_namespace_is_made() -> contextlib.AbstractContextManager[None]:
    """Make a namespace and run FORGET_DISKS in it meanwhile: no disk is unmounted."""
    return _locked(fcntl.LOCK_EX)


@contextlib.contextmanager
def _locked(how: int) -> Iterator[None]:
    path = os.path.join(tempfile.gettempdir(), f"queuectl-tests-{os.getuid()}.mounts")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)

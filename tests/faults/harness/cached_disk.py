"""A disk with a cache that a power cut empties: what was written is safe only once it is flushed.

`cached_disk.py IMAGE MOUNT_POINT` serves by FUSE a file `disk`, the bytes of IMAGE, for a loop
device to stand on: the device's flush arrives as an fsync. What is written to the file `switch`
is an order. `off`: the power goes, and what is written from then on lasts until it comes back
only, so that what is mounted can still be unmounted. `on SHARE SEED`: it comes back. Of what was
written and not flushed when it went, each block has survived with the chance SHARE, whatever came
before or after it; the rest was never written.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
from typing import Any, NamedTuple

import mfusepy  # type: ignore[import-untyped]  # it has no types

_BLOCK = 4096


class _Write(NamedTuple):
    offset: int
    before: bytes
    after: bytes


class CachedDisk:
    """The operations; libfuse knows by their names which there are."""

    use_ns = True

    def __init__(self, image: str) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._sizes = {"/disk": os.fstat(self._image).st_size, "/switch": 0}
        self._cached: list[_Write] = []
        self._in_the_dark: list[_Write] = []
        self._is_on = True

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path not in self._sizes:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._sizes[path]}

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._image, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == "/switch":
            self._turn(*data.decode().split())
            return len(data)
        before = os.pread(self._image, len(data), offset)
        log = self._cached if self._is_on else self._in_the_dark
        log.append(_Write(offset, before, bytes(data)))
        return os.pwrite(self._image, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """Accept it: libfuse 2 asks for it where an order is written over the last one."""

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        if self._is_on:
            self._cached.clear()

    def _turn(self, to: str, share: str = "", seed: str = "") -> None:
        self._is_on = to == "on"
        if not self._is_on:
            return
        for write in reversed([*self._cached, *self._in_the_dark]):
            os.pwrite(self._image, write.before, write.offset)
        lot = random.Random(seed)
        for write in self._cached:
            for at in range(0, len(write.after), _BLOCK):
                if lot.random() < float(share):
                    os.pwrite(self._image, write.after[at : at + _BLOCK], write.offset + at)
        self._cached.clear()
        self._in_the_dark.clear()


if __name__ == "__main__":
    mfusepy.FUSE(CachedDisk(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True)

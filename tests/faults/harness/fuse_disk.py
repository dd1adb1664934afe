"""A file system that hands everything on to a directory, but what its rules forbid.

`fuse_disk.py BACKING MOUNT_POINT RULES`: RULES is a file with a JSON array, read again when it
is replaced. A rule is `{"errno": NAME, "path": TEXT, "operations": [...]}`: these operations
(every one, if none is named) fail with that error where the path has TEXT in it; for a rename
that is `OLD -> NEW`. `{"short": N, "path": TEXT}`: a write writes at most N bytes.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import mfusepy  # type: ignore[import-untyped]  # it has no types


class Rules:
    """What is to fail now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._rules: list[dict[str, Any]] = []

    def obey(self, operation: str, path: str) -> int | None:
        """Raise OSError if the operation is to fail; return the most that may be written."""
        found = os.stat(self._path)
        if self._seen != (found.st_ino, found.st_mtime_ns):
            self._seen = (found.st_ino, found.st_mtime_ns)
            with open(self._path, encoding="utf-8") as file:
                self._rules = json.load(file)
        limit = None
        for rule in self._rules:
            if rule["path"] not in path:
                continue
            if "short" in rule:
                limit = rule["short"]
            elif not rule["operations"] or operation in rule["operations"]:
                raise OSError(getattr(errno, rule["errno"]), os.strerror(errno.EIO), path)
        return limit


class Passthrough:
    """The operations; libfuse knows by their names which there are. No flock: the kernel's own."""

    use_ns = True

    def __init__(self, backing: str, rules: Rules) -> None:
        self._backing, self._rules = backing, rules

    def _real(self, operation: str, path: str) -> str:
        self._rules.obey(operation, path)
        return self._backing + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        real = self._real("getattr", path)
        found = os.fstat(fh) if fh is not None else os.lstat(real)
        times = {
            f"st_{name}": getattr(found, f"st_{name}_ns") for name in ("atime", "mtime", "ctime")
        }
        names = ("mode", "ino", "nlink", "uid", "gid", "size", "blocks", "blksize", "dev", "rdev")
        return {f"st_{name}": getattr(found, f"st_{name}") for name in names} | times

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        with os.scandir(self._real("readdir", path)) as entries:
            found = [(each.name, each.stat(follow_symlinks=False)) for each in entries]
        # An entry whose inode is 0 does not exist for glibc.
        return [
            (name, {"st_mode": about.st_mode, "st_ino": about.st_ino}, 0) for name, about in found
        ]

    def create(self, path: str, mode: int, fi: object = None) -> int:
        return os.open(self._real("create", path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        kept = flags & ~(os.O_APPEND | os.O_NOFOLLOW)  # the kernel has seen to both
        return os.open(self._real("open", path), kept)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._rules.obey("read", path)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        limit = self._rules.obey("write", path)
        return os.pwrite(fh, data[:limit], offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._real("truncate", path), length)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._rules.obey("fsync", path)
        os.fsync(fh)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        self._rules.obey("fsyncdir", path)

    def rename(self, old: str, new: str) -> None:
        self._rules.obey("rename", f"{old} -> {new}")
        os.rename(self._backing + old, self._backing + new)

    def link(self, target: str, source: str) -> None:
        self._rules.obey("link", f"{source} -> {target}")
        os.link(self._backing + source, self._backing + target)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        real = self._real("utimens", path)
        os.utime(real, ns=times) if times else os.utime(real)

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._real("statfs", path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}


def _simple(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def operation(self: Passthrough, path: str, *args: Any) -> Any:
        return call(self._real(name, path), *args)

    return operation


for _name in ("mkdir", "rmdir", "unlink", "chmod", "chown", "readlink"):
    setattr(Passthrough, _name, _simple(_name, getattr(os, _name)))


if __name__ == "__main__":
    mfusepy.FUSE(
        Passthrough(sys.argv[1], Rules(sys.argv[3])), sys.argv[2],
        foreground=True, nothreads=True, use_ino=True, attr_timeout=0, entry_timeout=0,
    )  # fmt: skip

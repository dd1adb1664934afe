"""Small file systems that fill up, go read-only or die; unmounted whatever happens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.waiting import eventually

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = struct.pack("I", 2)
_BLOCKS_AND_LESS = (1 << 20, 1 << 16, 1 << 12, 256, 1)
SMALL = {"bytes": "tmpfs", "inodes": "tmpfs", "ext4": "ext4"}
"""What is used up, and on which file system."""


def why_not(kind: str) -> str | None:
    """Say what is missing for such a file system here; None if it can be had."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if kind == "ext4" and shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed"
    if kind == "fuse":
        if shutil.which("fusermount3") is None or not os.path.exists("/dev/fuse"):
            return "there is no FUSE here"
        if importlib.util.find_spec("mfusepy") is None:
            return "mfusepy is not installed"
    return None


class SmallDisk:
    """A mounted file system of a few megabytes at most."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.kind = kind
        self.path = directory / f"small-{kind}"
        self._image = directory / "small.img"
        self._ballast = self.path / "ballast"
        self.path.mkdir()
        if kind == "ext4":
            with self._image.open("wb") as file:
                file.truncate(8 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", self._image], check=True)
        self.mount()

    def mount(self) -> None:
        """Mount it; an ext4 that finds an error becomes read-only, as Debian sets it."""
        what = ["-o", "loop,errors=remount-ro", str(self._image)]
        if self.kind == "tmpfs":
            what = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=200,mode=700", "tmpfs"]
        subprocess.run(["mount", *what, self.path], check=True)

    def unmount(self) -> None:
        """Unmount it; nothing may use it any more."""
        subprocess.run(["umount", self.path], check=True)

    def fill(self, what: str, *, but: int = 0) -> None:
        """Use up the last byte or the last inode, but so many bytes."""
        self._ballast.mkdir(exist_ok=True)
        if what == "inodes":
            with contextlib.suppress(OSError):
                for number in range(100_000):
                    (self._ballast / str(number)).touch()
            return
        with (self._ballast / "bytes").open("wb", buffering=0) as file:
            for size in _BLOCKS_AND_LESS:
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())
            file.truncate(max(file.tell() - but, 0))

    def free(self) -> None:
        """Give the space back."""
        shutil.rmtree(self._ballast)

    def fail(self) -> None:
        """Let ext4 find an error: from here on it is read-only, whoever has files open."""
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", self.path], check=True, capture_output=True, text=True
        ).stdout.strip()
        Path(f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error").write_text("1")

    def shut_down(self) -> None:
        """Let ext4 answer EIO to everything from here on, as if the disk were gone."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Unmount it, lazily where something still holds it."""
        if os.path.ismount(self.path):
            done = subprocess.run(["umount", self.path], check=False, capture_output=True)
            if done.returncode:
                subprocess.run(["umount", "-l", self.path], check=True)


@contextlib.contextmanager
def small_disk(directory: Path, kind: str) -> Iterator[SmallDisk]:
    """Mount a small file system for the length of the block."""
    disk = SmallDisk(directory, kind)
    try:
        yield disk
    finally:
        disk.close()


class FaultyDisk:
    """A FUSE file system over a directory, which fails where it is told to."""

    def __init__(self, directory: Path) -> None:
        self.path, self.backing = directory / "faulty", directory / "backing"
        self._rules = directory / "rules.json"
        self.path.mkdir()
        self.backing.mkdir()
        self.heal()
        self._said = directory / "fuse.err"
        with self._said.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fuse_disk.py"),
                 self.backing, self.path, self._rules],
                stderr=file,
            )  # fmt: skip
        eventually(
            lambda: os.path.ismount(self.path) or self._process.poll() is not None, "it is mounted"
        )
        assert self._process.poll() is None, self._said.read_text()

    def fail(self, *rules: dict[str, Any]) -> None:
        """Obey these rules from the next call on: see `fuse_disk`."""
        staged = self._rules.with_suffix(".new")
        staged.write_text(json.dumps(rules))
        staged.replace(self._rules)

    def heal(self) -> None:
        """Let everything succeed again."""
        self.fail()

    def freeze(self) -> None:
        """Answer nothing from here on, as a network file system whose server is gone."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Unmount it and end its process."""
        self.thaw()
        self.heal()
        try:
            if os.path.ismount(self.path):
                subprocess.run(["fusermount3", "-u", "-z", self.path], check=True)
            self._process.wait(10)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


@contextlib.contextmanager
def faulty_disk(directory: Path) -> Iterator[FaultyDisk]:
    """Mount a file system that can be told to fail for the length of the block."""
    disk = FaultyDisk(directory)
    try:
        yield disk
    finally:
        disk.close()


def rule(error: str, path: str = "", *operations: str) -> dict[str, Any]:
    """A rule: these operations (all, if none is named) fail where the path has `path` in it."""
    assert hasattr(errno, error)
    return {"errno": error, "path": path, "operations": operations}

"""A file system in a file, whose power can be cut."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: the same number
_NO_LOG_FLUSH = struct.pack("I", 2)
_SIZES = {"ext4": "64M", "xfs": "320M"}


def why_not(kind: str) -> str | None:
    """Say what is missing for such a disk here; None if it can be had."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which(f"mkfs.{kind}") is None:
        return f"mkfs.{kind} is not installed"
    return None


class LoopDisk:
    """A mounted file system in an image file."""

    def __init__(self, directory: Path, kind: str) -> None:
        self._image = directory / f"{kind}.img"
        self.mount_point = directory / kind
        self.mount_point.mkdir(parents=True)
        subprocess.run(["truncate", "-s", _SIZES[kind], self._image], check=True)
        subprocess.run([f"mkfs.{kind}", "-q", self._image], check=True)
        self._mount()

    def cut_power(self) -> None:
        """Lose all that has not reached the disk, and start again from what has."""
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)
        self._unmount()
        self._mount()

    def sync(self) -> None:
        """Let everything that was written reach the disk."""
        subprocess.run(["sync", "-f", self.mount_point], check=True)

    def close(self) -> None:
        """Unmount it."""
        self._unmount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self.mount_point], check=True)

    def _unmount(self) -> None:
        # A command whose worker was killed may live some milliseconds longer, its log open.
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.mount_point} stays busy")
            time.sleep(0.01)

"""A file system in a file, whose power can be cut."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.namespaces import disks_change

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_UNFLUSHED_THAT_SURVIVES = (0.0, 0.5)
"""By turns: a cut loses all that was not flushed, or each block of it by lot."""
_BLOCK = 4096
_WRITE_AND_WAIT = 7  # sync_file_range(2)


class Kind(NamedTuple):
    """What tells one file system from another here.

    `mend` is what a machine runs at boot, before it mounts a disk that was not unmounted.
    """

    name: str
    size: int
    make: tuple[str, ...]
    mend: tuple[str, ...] = ()


KINDS = {
    "ext4": Kind("ext4", 64 << 20, ("mkfs.ext4", "-q")),
    "xfs": Kind("xfs", 320 << 20, ("mkfs.xfs", "-q")),
    "btrfs": Kind("btrfs", 128 << 20, ("mkfs.btrfs", "-q")),
    "ext4 without a journal": Kind(
        "ext4", 16 << 20, ("mkfs.ext4", "-q", "-O", "^has_journal"), mend=("e2fsck", "-fy")
    ),
}


def why_not(kind: str) -> str | None:
    """Say what is missing for such a disk here; None if it can be had."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("fusermount3") is None or not os.path.exists("/dev/fuse"):
        return "there is no FUSE here"
    if importlib.util.find_spec("mfusepy") is None:
        return "mfusepy is not installed"
    if shutil.which(KINDS[kind].make[0]) is None:
        return f"{KINDS[kind].make[0]} is not installed"
    return None


class LoopDisk:
    """A mounted file system, on a disk that loses at a power cut what was not flushed.

    The disk is an image file behind `cached_disk`, and a loop device on it. Every kind of file
    system has its power cut in the same way: below it, where it cannot know.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        self._kind = KINDS[kind]
        self.mount_point = directory / "mounted"
        self._below = directory / "below"
        self._cuts = 0
        for each in (self.mount_point, self._below):
            each.mkdir(parents=True)
        image = directory / "image"
        with image.open("wb") as file:
            file.truncate(self._kind.size)
        _run(*self._kind.make, image)
        with contextlib.ExitStack() as stack:
            self._switch = stack.enter_context(_served(image, self._below))
            self._device = stack.enter_context(_loop_device(self._below / "disk"))
            self._mount()
            stack.callback(self._unmount)
            self._open = stack.pop_all()

    def cut_power(self) -> None:
        """Lose all that has not reached the disk, and start again from what has."""
        with disks_change():
            self._cut_power()

    def _cut_power(self) -> None:
        self._switch("off")
        self._unmount()
        self._cuts += 1
        share = _UNFLUSHED_THAT_SURVIVES[self._cuts % len(_UNFLUSHED_THAT_SURVIVES)]
        self._switch(f"on {share} {self._cuts}")
        if self._kind.mend:
            mended = subprocess.run([*self._kind.mend, self._device], capture_output=True)
            assert mended.returncode in (0, 1), mended.stdout + mended.stderr  # 1: mended
        self._mount()

    def write_some_back(self) -> None:
        """Let each block that the kernel would write some seconds later go to the disk, by lot.

        Only file systems without a journal leave their own blocks to that: there half of what
        one call has changed may be on the disk, whatever was synced.
        """
        lot = random.Random(self._cuts)
        with _opened(self._device) as fd:
            for at in range(0, self._kind.size, _BLOCK):
                if lot.random() < 0.5:
                    _check(_libc.sync_file_range(fd, at, _BLOCK, _WRITE_AND_WAIT))

    def sync(self) -> None:
        """Let everything that was written reach the disk."""
        with _opened(self.mount_point) as fd:
            _check(_libc.syncfs(fd))
        # Without a journal, ext4 flushes the disk before it has written its last blocks.
        with _opened(self._device) as fd:
            os.fsync(fd)

    def close(self) -> None:
        """Unmount it and take everything down that is below it."""
        with disks_change():
            self._open.close()

    def _mount(self) -> None:
        _check(_libc.mount(os.fsencode(self._device), os.fsencode(self.mount_point),
                           self._kind.name.encode(), 0, None))  # fmt: skip

    def _unmount(self) -> None:
        # A command whose worker was killed may live some milliseconds longer, its log open.
        deadline = time.monotonic() + 10
        while _libc.umount2(os.fsencode(self.mount_point), 0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.mount_point} stays busy")
            time.sleep(0.01)


@contextlib.contextmanager
def _served(image: Path, mount_point: Path) -> Iterator[Callable[[str], object]]:
    """Serve a disk with a cache; give what turns its switch."""
    command: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("cached_disk.py"),
        image,
        mount_point,
    ]
    server = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(mount_point):
            assert server.poll() is None, "cached_disk.py does not start"
            assert time.monotonic() < deadline, "cached_disk.py does not mount"
            time.sleep(0.005)
        yield lambda order: (mount_point / "switch").write_text(order)
    finally:
        if os.path.ismount(mount_point):
            _run("fusermount3", "-u", "-z", mount_point)
        server.wait(60)  # a process that a killed worker left may hold the disk for a while


@contextlib.contextmanager
def _loop_device(file: Path) -> Iterator[str]:
    """A loop device that keeps no copy of its own: the disk changes behind its back."""
    device = _run("losetup", "--find", "--show", "--direct-io=on", file).strip()
    try:
        yield device
    finally:
        _run("losetup", "--detach", device)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

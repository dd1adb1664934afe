"""Which file system a directory is on, whether it keeps a journal, and one made for the purpose.

An fsync on an ext4 without a journal costs a fraction of one with it, so that a durable figure
says little without its disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOGGED = {"xfs": "journal", "btrfs": "copy on write", "zfs": "copy on write", "ext3": "journal"}


@dataclass(frozen=True)
class Disk:
    """A directory to measure in, and what it is on."""

    path: Path
    name: str
    about: str
    first: bool  # the one that was asked for: all is measured here, not only what fsync decides


def describe(path: Path) -> tuple[str, str]:
    """Tell a short name and a description of the file system that a directory is on."""
    kind, source, options = _mount_of(path)
    if kind == "ext4":
        # The kernel makes /proc/fs/jbd2/DEVICE-INODE for every journal that is in use.
        device = os.path.basename(os.path.realpath(source))
        if device == "root":  # /dev/root is an alias that may not exist
            device = os.path.basename(os.path.realpath(f"/sys/dev/block/{_numbers(path)}"))
        journals = Path("/proc/fs/jbd2")
        journal = any(journals.glob(f"{device}-*")) or any(journals.glob(f"{device}:*"))
        state = "journal" if journal else "no journal"
    elif kind == "tmpfs":
        state = "memory: nothing is durable here"
    else:
        state = LOGGED.get(kind, "journal unknown")
    return f"{kind}, {state}", f"{kind} on {source} ({options}): {state}"


def _numbers(path: Path) -> str:
    device = os.stat(path).st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def _mount_of(path: Path) -> tuple[str, str, str]:
    wanted, best = os.path.realpath(path), ("", "unknown", "unknown", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            kind, source, *_ = right.split()
            best = (point, kind, source, left.split()[5])
    return best[1:]


@contextlib.contextmanager
def plain(parent: Path) -> Iterator[Disk]:
    """A directory of our own on the disk of `parent`, removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="queuectl-bench-", dir=parent))
    try:
        yield Disk(root, *describe(root), first=True)
    finally:
        with _undisturbed():
            shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def journalled(parent: Path, files: int) -> Iterator[Disk]:
    """A loop image with a journalled ext4 for so many files; always unmounted and removed.

    Raises OSError with the reason if there can be none: not root, no loop device, no mkfs.
    """
    if os.geteuid() != 0:
        raise PermissionError("only root can mount one")
    for tool in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(tool) is None:
            raise FileNotFoundError(f"no {tool} here")
    home = Path(tempfile.mkdtemp(prefix="queuectl-bench-", dir=parent))
    image, point = home / "image", home / "mount"
    point.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(2**30 + files * 10240)  # sparse
        inodes = str(files * 2 + 100_000)
        _run("mkfs.ext4", "-q", "-F", "-N", inodes, str(image))
        # The kernel would go on to initialise inode tables in the background.
        _run("mount", "-o", "loop,noinit_itable", str(image), str(point))
        try:
            root = point / "bench"
            root.mkdir()
            name, about = describe(root)
            yield Disk(root, f"{name} (loop image)", about, first=False)
        finally:
            with _undisturbed():
                if subprocess.run(["umount", str(point)], check=False).returncode != 0:
                    _run("umount", "--lazy", str(point))
    finally:
        with _undisturbed():
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Clean up to the end, whoever is impatient."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")

"""Figures of the proofs: what was tried and what was found; and what the sweeps share."""

from __future__ import annotations

import ctypes
import errno
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl.disk import renames


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note figures under a heading: `figures("kill", points=40, violations=0)`."""

    def note(heading: str, **numbers: int) -> None:
        record_property("figures", (heading, numbers))

    return note


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs nothing to fill and empty."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        yield Path(directory)


@pytest.fixture
def no_exclusive_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without RENAME_NOREPLACE: its answer is EINVAL, as on NFS."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(renames, "_renameat2", refuse)

"""The identity of this machine and of its current boot."""

from __future__ import annotations

import contextlib
import functools
import os


@functools.cache
def boot_id() -> str:
    """Return an id of this boot of the machine, "" if the system has none."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


@functools.cache
def hostname() -> str:
    """Return this host's name."""
    return os.uname().nodename

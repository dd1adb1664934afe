"""This machine, as others can tell it from theirs."""

from __future__ import annotations

import contextlib
import functools
import os


@functools.cache
def boot_id() -> str:
    """Return a name of this boot of this machine ("" where the system gives none)."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


@functools.cache
def hostname() -> str:
    """Return this host's name."""
    return os.uname().nodename

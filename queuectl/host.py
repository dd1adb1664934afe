"""The identity of this machine, of its current boot, and of this process's pid namespace."""

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
def pid_namespace() -> str:
    """Return an id of the namespace of this process's pid, "" if the system has none.

    Containers may share a host's name and boot, but a pid means something else in each.
    """
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def here() -> tuple[str, str, str]:
    """Return what a pid's meaning depends on: host, boot and pid namespace."""
    return hostname(), boot_id(), pid_namespace()


@functools.cache
def hostname() -> str:
    """Return this host's name."""
    return os.uname().nodename

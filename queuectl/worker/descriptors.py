"""How many open files a worker may need, and the limit on them."""

from __future__ import annotations

import contextlib
import resource

from queuectl.errors import QueuectlError

_FOR_ALL, _FOR_A_SLOT = 32, 10
"""Measured: a worker has up to 12 descriptors for itself, 4 for each slot and 4 for the hook that
may run for each. The rest is for files that are open for a moment."""


def make_room(slots: int) -> None:
    """Raise the limit on open files to what a worker with this number of slots may need.

    It is raised no further, because commands inherit it. Raises QueuectlError if it cannot be
    raised so far.
    """
    needed = _FOR_ALL + _FOR_A_SLOT * slots
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _allows(soft, needed):
        return
    if _allows(hard, needed):
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
    limit = soft if _allows(hard, needed) else hard
    raise QueuectlError(
        f"{slots} slots may need {needed} open files, and this process may have {limit}: "
        f"start at most {max((limit - _FOR_ALL) // _FOR_A_SLOT, 0)}, or raise the limit (ulimit -n)"
    )


def highest(wanted: int) -> int:
    """Return a descriptor's number, or the highest that the limit allows if that is lower."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if _allows(soft, wanted + 1) else soft - 1


def _allows(limit: int, count: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= count

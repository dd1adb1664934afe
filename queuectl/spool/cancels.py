"""Requests to end a running job: the file `ID.ATTEMPT.cancel` beside its claim.

A request may come just when its job ends, and a later job may have the same id and attempt. So a
request names the claimed file that it is for. An empty request, made by hand, is for the job that
is there.
"""

from __future__ import annotations

import contextlib
import os
import zlib

from queuectl.disk.reading import read_regular
from queuectl.record.job import MAX_RECORD_BYTES
from queuectl.spool.layout import Layout
from queuectl.spool.places import Claim, ClaimedPlace
from queuectl.spool.spool import Spool

_MOST_BYTES = 100


def request(spool: Spool, place: ClaimedPlace) -> bool:
    """Ask the holder of a claim to end its command; False if the job has moved on meanwhile.

    On return the request is durable. Raises NotDurable, OSError.
    """
    path = _path(spool.layout, place)
    try:
        meant = _name(place.path)
        spool.disk.appear(path, meant, staged=spool.layout.staged())
        spool.disk.commit(os.path.dirname(path))
        return _name(place.path) == meant
    except FileNotFoundError:
        return False


def is_requested(layout: Layout, claim: Claim | ClaimedPlace) -> bool:
    """Whether somebody has asked for the end of a claimed job; False if that cannot be read."""
    with contextlib.suppress(OSError):
        meant, _ = read_regular(_path(layout, claim), _MOST_BYTES)
        return not meant.strip() or meant == _name(claim.path)
    return False


def _path(layout: Layout, claim: Claim | ClaimedPlace) -> str:
    return layout.claim(claim.worker, claim.id, claim.attempt, "cancel")


def _name(path: str) -> bytes:
    """Return what tells one job's file from a later one in its place, also after a restore.

    Its inode does neither: it may be used again, and is another one in a copy.
    """
    data, found = read_regular(path, MAX_RECORD_BYTES)
    return b"%d %08x\n" % (found.st_mtime_ns, zlib.crc32(data))

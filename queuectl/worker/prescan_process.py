"""The prescan process: reads `pending/` and writes its jobs to standard output.

`worker/prescan.py` starts it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import islice

import msgspec

from queuectl.errors import QueuectlError
from queuectl.spool.places import Ready
from queuectl.spool.reader import Reader
from queuectl.worker.backlog import Waiting

_BATCH = 100  # jobs in a line: they take less than a millisecond of the worker's time
_NICENESS = 5  # running jobs come first


def _jobs(spool: Reader) -> Iterator[Waiting]:
    for name in spool.names("pending"):
        with contextlib.suppress(OSError, QueuectlError):
            seen = spool.look("pending", name)
            if isinstance(seen, Ready) and name.isprintable():  # JSON cannot hold every other name
                yield Waiting.of(name, seen)


def main(root: str, trust: str) -> None:
    """Write the jobs in `pending/` to standard output, as JSON, one batch a line.

    `trust` is "all" if job files of every owner count as jobs, otherwise "owners".
    """
    os.nice(_NICENESS)
    spool = Reader(root)
    if trust == "all":
        spool.trusted_owners = None
    jobs = _jobs(spool)
    with contextlib.suppress(BrokenPipeError), open(1, "wb", closefd=False) as output:
        while batch := list(islice(jobs, _BATCH)):
            output.write(msgspec.json.encode(batch) + b"\n")
            output.flush()

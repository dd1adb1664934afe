"""Reads `pending/` ahead of its worker, in a process of its own, if very many files are there.

Each file takes four system calls, and after each a thread of the worker would have to wait for
the interpreter's lock, and make the slots wait for it: a million files took minutes, and jobs ran
at half their rate. What the scout tells is as good as an event: a hint. The worker looks itself
at what the scout has left out, which is all if it fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import msgspec

from queuectl.errors import QueuectlError
from queuectl.spool.places import Ready
from queuectl.spool.reader import Reader
from queuectl.worker.backlog import Waiting

log = logging.getLogger(__name__)

MANY = 10_000
"""So many files are worth a tenth of a second for another interpreter."""
_BATCH = 100  # jobs in a line: less than a millisecond of the worker's time
_NICENESS = 5  # jobs come first


def is_possible() -> bool:
    """Whether there is an interpreter to start: not if the program is frozen into one file."""
    return bool(sys.executable) and not hasattr(sys, "frozen")


def prescan(spool: Reader) -> Iterator[list[Waiting]]:
    """Tell of the jobs in `pending/`, batch by batch, as they are read."""
    trust = "all" if spool.trusted_owners is None else "owners"
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "queuectl.worker.prescan", spool.layout.root, trust],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # a Ctrl-C is for the worker
        )
    except OSError as error:
        log.warning("nothing is read ahead: %s", error)
        return
    assert process.stdout is not None
    try:
        for line in process.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # cut off in the middle
                yield msgspec.json.decode(line, type=list[Waiting])
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _jobs(spool: Reader) -> Iterator[Waiting]:
    for name in spool.names("pending"):
        with contextlib.suppress(OSError, QueuectlError):
            seen = spool.look("pending", name)
            if isinstance(seen, Ready) and name.isprintable():  # others are no text for JSON
                yield Waiting.of(name, seen)


def main(root: str, trust: str) -> None:
    """Write what waits in `pending/` to standard output, a batch a line."""
    os.nice(_NICENESS)
    spool = Reader(root)
    if trust == "all":
        spool.trusted_owners = None
    jobs = _jobs(spool)
    with contextlib.suppress(BrokenPipeError), open(1, "wb", closefd=False) as output:
        while batch := list(islice(jobs, _BATCH)):
            output.write(msgspec.json.encode(batch) + b"\n")
            output.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

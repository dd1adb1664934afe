"""Reads a very full `pending/` in another process, ahead of the worker's own scan.

Each file takes four system calls, and after each one a thread of the worker would have to wait for
the interpreter's lock, and would make the slots wait for it: reading a million files took minutes,
and jobs ran at half their rate. So a prescan process reads the files and reports the jobs. Its
report is a hint, like an event: the worker itself looks at every file that the report leaves out,
which is all of them if the prescan fails.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from queuectl.spool.reader import Reader
from queuectl.worker.backlog import Waiting

log = logging.getLogger(__name__)

MANY = 10_000
"""The number of unknown files from which a prescan is worth its start: a tenth of a second."""


def is_possible() -> bool:
    """Whether there is an interpreter to start; there is none in a program frozen into one file."""
    return bool(sys.executable) and not hasattr(sys, "frozen")


def prescan(spool: Reader) -> Iterator[list[Waiting]]:
    """Yield the jobs in `pending/`, batch by batch, while a prescan process reads them."""
    trust = "all" if spool.trusted_owners is None else "owners"
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "queuectl.worker.prescan_process", spool.layout.root, trust],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # so that a Ctrl-C reaches only the worker
        )
    except OSError as error:
        log.warning("pending/ is read without a prescan: %s", error)
        return
    assert process.stdout is not None
    try:
        for line in process.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # the process died in mid-line
                yield msgspec.json.decode(line, type=list[Waiting])
    finally:
        process.kill()
        process.stdout.close()
        process.wait()

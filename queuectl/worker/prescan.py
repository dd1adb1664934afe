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

_PROGRAM = """
import sys
from importlib import util
for name in "msgspec", "queuectl":
    spec = util.spec_from_file_location(name, sys.argv.pop(1))
    module = sys.modules[name] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
from queuectl.worker.prescan_process import main
main(*sys.argv[1:])
"""
"""Loads the two packages from the files that this process has them from: an isolated interpreter
does not find them where only PYTHONPATH or a user's own site-packages led to them."""


def is_possible() -> bool:
    """Whether there is an interpreter to start; there is none in a program frozen into one file."""
    return bool(sys.executable) and not hasattr(sys, "frozen")


def prescan(spool: Reader) -> Iterator[list[Waiting]]:
    """Yield the jobs in `pending/`, batch by batch, while a prescan process reads them."""
    trust = "all" if spool.trusted_owners is None else "owners"
    packages = [str(sys.modules[name].__file__) for name in ("msgspec", "queuectl")]
    try:
        process = subprocess.Popen(
            [*_interpreter(), *packages, spool.layout.root, trust],
            cwd="/",
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


def _interpreter() -> list[str]:
    """Return the words that start `_PROGRAM`.

    Isolated, it imports nothing from its directory and obeys no PYTHON* variable: whoever may
    write to the directory in which a worker was started must not run code as the worker's user.
    """
    names = f"utf8={sys.flags.utf8_mode}"  # file names are the same text in both processes
    return [sys.executable, "-I", "-B", "-X", names, "-c", _PROGRAM]

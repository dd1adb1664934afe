"""How a worker is told to stop: signals, and the file `workers/NAME.stop`."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Literal

from queuectl.disk.durable import create
from queuectl.disk.reading import read_regular
from queuectl.spool.watch import Watch

Wish = Literal["stop", "stop now"]
_LONGEST_WISH = 64


class StopSignals:
    """Counts the signals that ask a worker to stop; the second one asks it to stop now."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._count = 0

    @property
    def wish(self) -> Wish | None:
        """What the signals so far ask for."""
        return None if not self._count else "stop" if self._count == 1 else "stop now"

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch SIGTERM, SIGINT and SIGHUP, except those that the process ignores (nohup)."""

        def count(*_: object) -> None:
            self._count += 1
            self._watch.notify()

        # A signal may come just before the wait begins, or to another thread: then only the byte
        # that the interpreter writes here ends the wait.
        fd = signal.set_wakeup_fd(self._watch.fileno(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, count)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)


def announce_stop(path: str, mode: int) -> None:
    """Make a worker's stop file, if nobody has: it tells others that the worker is leaving."""
    with contextlib.suppress(OSError):
        os.close(create(path, os.O_WRONLY | os.O_EXCL, mode))


def read_stop_file(path: str) -> Wish | None:
    """Return what a worker's stop file asks for; None if there is none."""
    with contextlib.suppress(OSError):
        said, _ = read_regular(path, _LONGEST_WISH)
        return "stop now" if said.strip() == b"now" else "stop"
    return None

"""The log of a worker in the background: bounded, and made again if somebody moved it away."""

from __future__ import annotations

import contextlib
import os

from queuectl import clock
from queuectl.disk.durable import create, write_all
from queuectl.spool.spool import Spool

MAX_BYTES = 8 << 20
"""The size at which the log is renamed. One old log is kept: a worker has at most two."""
SECONDS_BETWEEN_LOOKS = 1.0
"""How often to look whether the log still has its name: not at each of many lines a second."""


class WorkerLog:
    """A text stream for logging: `workers/NAME.log`, with the spool's mode.

    A full log becomes `NAME.log.1`, over an older one. If the log is renamed or removed, by
    logrotate or by hand, a new one is made within a second. No link is followed. Raises OSError.
    """

    def __init__(self, spool: Spool, name: str) -> None:
        self._spool = spool
        self._path = spool.layout.worker(name, "log")
        self._old_path = spool.layout.worker(name, "log.1")
        self._fd = self._open()
        self._seen()

    def write(self, text: str) -> None:
        """Append text. Raises OSError."""
        data = text.encode(errors="backslashreplace")
        if clock.monotonic() >= self._next_look:
            if not self._has_its_name():
                self._reopen()
            self._seen()
        if self._size + len(data) > MAX_BYTES and self._has_its_name():
            self._spool.disk.take(self._path, self._old_path)
            self._reopen()
            self._seen()
        write_all(self._fd, data)
        self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _has_its_name(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.lstat(self._path), os.fstat(self._fd))
        return False

    def _seen(self) -> None:
        self._size = os.fstat(self._fd).st_size  # somebody may have emptied it
        self._next_look = clock.monotonic() + SECONDS_BETWEEN_LOOKS

    def _reopen(self) -> None:
        before, self._fd = self._fd, self._open()
        os.close(before)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK  # a FIFO with this name does not block
        return create(self._path, flags, self._spool.disk.file_mode)

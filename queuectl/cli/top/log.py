"""A job's output as `top` shows it."""

from __future__ import annotations

import contextlib
import os
import re

from msgspec import Struct

from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.view.text import printable

MAX_LOG_BYTES = 256 * 1024
"""The end of a log that is read and can be scrolled through."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Log(Struct):
    """The log of a job's newest attempt: its last lines, `back` of them below the screen."""

    id: str
    path: str
    lines: list[str] = []
    back: int = 0
    version: tuple[int, int] | None = None

    def load(self, queue: Queue) -> None:
        """Read the log again if it has changed, or if there is a new attempt."""
        try:
            attempt = queue.newest_attempt(self.id)
            self.path = queue.log_path(self.id, attempt, exact=True)
        except QueuectlError:  # the job has been purged: what was read stays on the screen
            return
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.path)
            version = found.st_ino, found.st_size
            if version != self.version:
                start = max(found.st_size - MAX_LOG_BYTES, 0)
                data = b"".join(queue.read_log(self.id, attempt, start))
                self.lines, self.version = log_lines(data), version

    def press(self, key: str, height: int) -> None:
        """Scroll, on a screen of `height` lines."""
        page = max(height - 2, 1)
        steps = {"up": 1, "k": 1, "down": -1, "j": -1, "pgup": page, "pgdn": -page}
        if key in ("home", "g"):
            self.back = len(self.lines)
        elif key in ("end", "G"):
            self.back = 0
        else:
            self.back = max(self.back + steps.get(key, 0), 0)
        self.back = min(self.back, max(len(self.lines) - 1, 0))


def log_lines(data: bytes) -> list[str]:
    """Split output into lines that are safe to show.

    Colours are removed, control characters are escaped, and of a line that was drawn several
    times, as progress bars are, only the last state is kept.
    """
    text = _COLOURS.sub("", data.decode(errors="replace"))
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [printable(line.rstrip("\r").rsplit("\r", 1)[-1].expandtabs()) for line in lines]

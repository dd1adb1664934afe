"""Logs as text. The output of a command is hostile input, and may be any bytes.

Many programs write colours and line erasures into any log; these are removed. All other characters
that a terminal would obey, or that change the direction of text, are spelled out.
"""

from __future__ import annotations

import contextlib
import re

from queuectl.view.output import part
from queuectl.view.text import printable

MAX_SHOWN_BYTES = 256 * 1024
"""A page shows the end of a log; it links to the whole log."""
CHUNK_BYTES = 64 * 1024
LAST_BYTES = 2048
"""The last line of a log is looked for in so much of its end."""

_DECORATION = re.compile(r"\x1b\[[0-9;:]*[mK]")
_LINE_END = re.compile(r"\r\n?")
_UNFINISHED = re.compile(
    rb"(?:\r|\x1b(?:\[[0-9;:]{0,32})?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?"
    rb"|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)


def plain(data: bytes) -> str:
    """Make the bytes of a log safe to read."""
    text = data.decode(errors="replace")
    text = _LINE_END.sub("\n", _DECORATION.sub("", text))
    lines = text.split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def last_line(path: str) -> str:
    """Return the last line of a log that is not blank; "" if none is near the end of the log."""
    with contextlib.suppress(OSError):
        size = part(path, 0, 0)[1]
        text = plain(part(path, max(size - LAST_BYTES, 0), LAST_BYTES)[0])
        return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
    return ""


class LogReader:
    """Reads a log from an offset on while it grows. What it returns ends at a whole character."""

    def __init__(self, path: str, offset: int) -> None:
        self._path = path
        self.offset = offset

    def read(self, *, final: bool = False) -> str:
        """Return the next text, at most a chunk; with `final` also an incomplete character.

        If the log has become shorter, someone has emptied it, and it is read from its start. If it
        grows faster than it is read, a part is left out, and the text says so.
        """
        (_, size), left_out = part(self._path, 0, 0), 0
        if size < self.offset:
            self.offset = 0
        if size - self.offset > MAX_SHOWN_BYTES:
            left_out = size - CHUNK_BYTES - self.offset
            self.offset += left_out
        data, _ = part(self._path, self.offset, CHUNK_BYTES)
        if left_out and (cut := data.find(b"\n") + 1):  # continue with a whole line
            left_out, self.offset, data = left_out + cut, self.offset + cut, data[cut:]
        if not final and (tail := _UNFINISHED.search(data)):
            data = data[: tail.start()]
        self.offset += len(data)
        return (f"\n[{left_out:,} bytes are left out here]\n" if left_out else "") + plain(data)


def last_part(path: str) -> tuple[str, int, int]:
    """Return the last part of a log, its end as an offset, and how many bytes are left out."""
    _, size = part(path, 0, 0)
    first = max(0, size - MAX_SHOWN_BYTES)
    data, _ = part(path, first, MAX_SHOWN_BYTES)
    if first and 0 <= (cut := data.find(b"\n")) < 4096:  # begin with a whole line
        first, data = first + cut + 1, data[cut + 1 :]
    if tail := _UNFINISHED.search(data):
        data = data[: tail.start()]
    return plain(data), first + len(data), first

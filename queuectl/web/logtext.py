"""A log as text: a command's output is hostile input, and any bytes at all.

Colours and erasures of terminals are taken out, for many programs write them into any log.
Everything else that a terminal would obey, or that would turn the text around, is spelled out.
"""

from __future__ import annotations

import os
import re

from queuectl.view.text import printable

MOST_SHOWN = 256 * 1024
"""Bytes of a log that a page shows, its end; the whole is a link away."""
CHUNK_BYTES = 64 * 1024

_DECORATION = re.compile(r"\x1b\[[0-9;:]*[mK]")
_LINE_END = re.compile(r"\r\n?")
_UNFINISHED = re.compile(
    rb"(?:\r|\x1b(?:\[[0-9;:]{0,32})?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?"
    rb"|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)


def plain(data: bytes) -> str:
    """Make bytes of output safe to read."""
    text = data.decode(errors="replace")
    text = _LINE_END.sub("\n", _DECORATION.sub("", text))
    lines = text.split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


class Reader:
    """Reads a log from an offset on, as it grows; what it gives ends at whole characters."""

    def __init__(self, path: str, offset: int) -> None:
        self._path = path
        self.offset = offset

    def read(self, *, final: bool = False) -> str:
        """Return what has come since, at most a chunk of it; with `final` also half a character.

        A log that has become shorter is begun anew: somebody has emptied it. Of one that grows
        faster than it is read, a piece is left out, and that is said.
        """
        size, left_out = _size(self._path), 0
        if size < self.offset:
            self.offset = 0
        if size - self.offset > MOST_SHOWN:
            left_out = size - CHUNK_BYTES - self.offset
            self.offset += left_out
        data = _slice(self._path, self.offset, CHUNK_BYTES)
        if left_out and (cut := data.find(b"\n") + 1):  # go on with a whole line
            left_out, self.offset, data = left_out + cut, self.offset + cut, data[cut:]
        if not final and (tail := _UNFINISHED.search(data)):
            data = data[: tail.start()]
        self.offset += len(data)
        return (f"\n[{left_out:,} bytes are left out here]\n" if left_out else "") + plain(data)


def last_part(path: str) -> tuple[str, int, int]:
    """Return the end of a log, the offset up to which it goes, and how many bytes were left out."""
    size = _size(path)
    first = max(0, size - MOST_SHOWN)
    data = _slice(path, first, MOST_SHOWN)
    if first and 0 <= (cut := data.find(b"\n")) < 4096:  # begin with a whole line
        first, data = first + cut + 1, data[cut + 1 :]
    if tail := _UNFINISHED.search(data):
        data = data[: tail.start()]
    return plain(data), first + len(data), first


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _slice(path: str, first: int, count: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, count, first)
    finally:
        os.close(fd)

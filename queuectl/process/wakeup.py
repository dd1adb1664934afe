"""A pipe that ends a poll(2) from another thread or a signal handler: the self-pipe trick."""

from __future__ import annotations

import os


def make_pipe() -> tuple[int, int]:
    """Return the ends to read and to write: neither blocks, and no command inherits them."""
    reader, writer = os.pipe()  # close-on-exec in Python; os.pipe2 does not exist on macOS
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer

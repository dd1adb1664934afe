"""The turn: of a worker's slots one works at a time, and lets another while it waits.

Python runs one thread at a time as it is, but its lock changes hands at every system call,
however short: eight slots wake each other more than forty times for a job, and each time one is
woken to find the lock taken again. The turn is kept over what is short and let go of over what
waits: a commit, the start of a command, its life, a pause.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_turn = threading.Lock()
_mine = threading.local()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Have the turn, once whoever has it lets go of it."""
    with _turn:
        _mine.is_taken = True
        try:
            yield
        finally:
            _mine.is_taken = False


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Let another have the turn meanwhile. A thread that does not have it just goes on."""
    if not getattr(_mine, "is_taken", False):
        yield
        return
    _mine.is_taken = False
    _turn.release()
    try:
        yield
    finally:
        _turn.acquire()
        _mine.is_taken = True

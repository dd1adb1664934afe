"""The slot lock: of the slots of one worker, the one that holds it works and the others wait.

Python runs one thread at a time anyway, but its own lock changes hands at every system call,
however short: without the slot lock, eight slots wake each other more than forty times for each
job, only to find Python's lock taken again. A slot holds the slot lock for short work and releases
it while it waits: for a commit, for the start of a command, for the command's end, in a pause.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_thread = threading.local()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Wait for the slot lock and hold it."""
    with _lock:
        _thread.holds = True
        try:
            yield
        finally:
            _thread.holds = False


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Let another thread hold the lock meanwhile. In a thread that does not hold it, do nothing."""
    if not getattr(_thread, "holds", False):
        yield
        return
    _thread.holds = False
    _lock.release()
    try:
        yield
    finally:
        _lock.acquire()
        _thread.holds = True


@contextlib.contextmanager
def acquired(lock: threading.Lock) -> Iterator[None]:
    """Hold another lock, and let another thread hold the slot lock while this one waits for it.

    Whoever has that lock may have released the slot lock meanwhile: a thread that waited for the
    one with the other in its hands would wait for good.
    """
    if not lock.acquire(blocking=False):
        with released():
            lock.acquire()
    try:
        yield
    finally:
        lock.release()

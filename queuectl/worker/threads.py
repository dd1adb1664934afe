"""The threads of a worker: each tells how it has ended, once, however it ends."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

Ended = Callable[[BaseException | None], None]
"""Called in a thread as the last thing that it does, with the error that has ended it, if any."""


def start(name: str, work: Callable[[], object], ended: Ended) -> threading.Thread:
    """Start a thread that does some work.

    Raises OSError if there is no thread to be had; then `ended` is not called.
    """

    def run() -> None:
        failure: BaseException | None = None
        try:
            work()
        except BaseException as error:
            failure = error
        ended(failure)

    thread = threading.Thread(target=run, name=name)
    try:
        thread.start()
    except RuntimeError as error:  # what Python makes of the EAGAIN of clone(2)
        raise OSError(errno.EAGAIN, f"the thread {name} cannot be started: {error}") from error
    return thread

"""Work on many jobs at once: it goes on in the background, and all pages see how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from queuectl import clock
from queuectl.errors import QueuectlError, WrongState

PATIENCE = 1.0
"""Seconds that a request waits for its chore's end before it answers."""
SECONDS_SHOWN = 20.0
"""How long a chore that is over is told of."""
_MOST_PROBLEMS = 3


class Chore:
    """One such work. Each step yields what was done: the number of jobs, or a problem."""

    def __init__(self, doing: str, done: str, steps: Iterator[int | str]) -> None:
        self.doing = doing
        self.done = done
        self.count = 0
        self.problems: list[str] = []
        self.ended_at: float | None = None
        self.steps = steps

    def words(self) -> str:
        """Say in one line how it stands."""
        if self.ended_at is None:
            return f"{self.doing}: {self.count:,} so far"
        jobs = "1 job" if self.count == 1 else f"{self.count:,} jobs"
        told = f"{jobs} {self.done}"
        if self.problems:
            told += f"; {len(self.problems):,} left: " + "; ".join(self.problems[:_MOST_PROBLEMS])
        return told


class Chores:
    """One chore at a time, so that two do not undo each other."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._chore: Chore | None = None
        self._closed = False

    def run(self, doing: str, done: str, steps: Iterator[int | str]) -> bool:
        """Begin, and wait a moment for the end; whether it has come. Raises WrongState."""
        with self._lock:
            if self._chore is not None and self._chore.ended_at is None:
                raise WrongState(f"{self._chore.words()}: wait for its end")
            chore = self._chore = Chore(doing, done, steps)
        thread = threading.Thread(target=self._work, args=(chore,), name="chore", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        return not thread.is_alive()

    def words(self) -> str:
        """Say how the latest chore stands; nothing if it is over and done with."""
        chore = self._chore
        if chore is None:
            return ""
        if chore.ended_at is not None and clock.monotonic() - chore.ended_at > SECONDS_SHOWN:
            return ""
        return chore.words()

    def close(self) -> None:
        """Stop after the step that is under way: each leaves the spool whole."""
        self._closed = True

    def _work(self, chore: Chore) -> None:
        try:
            for step in chore.steps:
                if isinstance(step, str):
                    chore.problems.append(step)
                else:
                    chore.count += step
                self.tell()
                if self._closed:
                    break
        except (QueuectlError, OSError) as error:
            chore.problems.append(str(error))
        finally:
            chore.ended_at = clock.monotonic()
            self.tell()

"""Background tasks: changes of many jobs that continue after the request is answered."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator

from queuectl import clock
from queuectl.errors import QueuectlError, WrongState
from queuectl.web.rendering import error_message

SECONDS_TO_WAIT = 1.0
"""How long a request waits for the end of the task that it started before it is answered."""
SECONDS_SHOWN = 20.0
"""How long the pages show the result of a finished task."""
_MAX_PROBLEMS_SHOWN = 3

Steps = Generator[int | str, None, None]
"""Each step yields how many jobs it changed, or a problem. `close` ends them early."""


class Task:
    """One background task. `doing` and `done` name it in messages: "Removing", "removed"."""

    def __init__(self, doing: str, done: str, steps: Steps) -> None:
        self.doing = doing
        self.done = done
        self.steps = steps
        self.count = 0
        self.problems: list[str] = []
        self.ended_at: float | None = None

    def message(self) -> str:
        """Describe the progress or the result in one line."""
        if self.ended_at is None:
            return f"{self.doing}: {self.count:,} so far"
        jobs = "1 job" if self.count == 1 else f"{self.count:,} jobs"
        text = f"{jobs} {self.done}"
        if self.problems:
            noun = "problem" if len(self.problems) == 1 else "problems"
            shown = "; ".join(self.problems[:_MAX_PROBLEMS_SHOWN])
            text += f"; {len(self.problems):,} {noun}: {shown}"
        return text


class TaskRunner:
    """Runs one task at a time, so that two tasks do not undo each other's work.

    `on_progress` is called after each step, in the task's thread.
    """

    def __init__(self) -> None:
        self.on_progress: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._task: Task | None = None
        self._closed = False

    def start(self, doing: str, done: str, steps: Steps) -> bool:
        """Start a task and wait a moment for its end; return whether it has ended.

        Raises WrongState if another task is running.
        """
        with self._lock:
            if self._task is not None and self._task.ended_at is None:
                raise WrongState(
                    f"another task is running ({self._task.message()}): "
                    "try again when it has finished"
                )
            task = self._task = Task(doing, done, steps)
        thread = threading.Thread(target=self._run, args=(task,), name="task", daemon=True)
        thread.start()
        thread.join(SECONDS_TO_WAIT)
        return not thread.is_alive()

    def message(self) -> str:
        """Describe the newest task; "" if there is none, or if it ended some time ago."""
        task = self._task
        if task is None:
            return ""
        if task.ended_at is not None and clock.monotonic() - task.ended_at > SECONDS_SHOWN:
            return ""
        return task.message()

    def close(self) -> None:
        """Stop the task after its current step. Each step leaves the spool consistent."""
        self._closed = True

    def _run(self, task: Task) -> None:
        try:
            with contextlib.closing(task.steps):
                for step in task.steps:
                    if isinstance(step, str):
                        task.problems.append(step)
                    else:
                        task.count += step
                    self.on_progress()
                    if self._closed:
                        break
        except (QueuectlError, OSError) as error:
            task.problems.append(error_message(error))
        finally:
            task.ended_at = clock.monotonic()
            self.on_progress()

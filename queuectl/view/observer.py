"""The events that a worker reports while it runs, for metrics and other views."""

from __future__ import annotations

from queuectl.record.job import Attempt, Job, State


class Observer:
    """Receives a worker's reports, in the thread that does the work. This one ignores them."""

    def claimed(self, job: Job) -> None:
        """A slot has claimed a job and is about to run it."""

    def settled(self, entry: Attempt, target: State) -> None:
        """An attempt's outcome is written, and the job has moved to state `target`."""

    def settle_failed(self) -> None:
        """The disk has refused an outcome; the worker will try again."""

    def recovered(self, entry: Attempt | None, target: State) -> None:
        """A job of a dead worker has moved to state `target`, after the attempt `entry`.

        Without an `entry` its file is not a valid job, and `target` is dead.
        """

    def rejected(self) -> None:
        """A waiting file that is not a valid job has moved to `dead/`."""


NO_OBSERVER = Observer()

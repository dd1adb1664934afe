"""What a worker has done, in numbers; and who else is told of it."""

from __future__ import annotations

import threading
from typing import Protocol

from msgspec import Struct

from queuectl.record.job import Attempt, Job, Outcome, State

_lock = threading.Lock()


class Observer(Protocol):
    """What a worker reports to; its methods are called by the thread that does the work."""

    def claimed(self, job: Job) -> None:
        """A slot has claimed a job and is about to run it."""

    def settled(self, entry: Attempt, target: State) -> None:
        """An attempt's outcome is written, and the job has gone to `target`."""

    def settle_failed(self) -> None:
        """The disk has refused to take an outcome; the worker will try again."""

    def recovered(self, count: int) -> None:
        """So many jobs of dead workers were moved on."""


class Unobserved(Observer):
    """Reports go nowhere."""


NOBODY = Unobserved()


class Tally(Struct):
    """Attempts by outcome (all failures under `failed`), and what the worker left."""

    ok: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    interrupted: int = 0
    unsettled: int = 0
    scheduled: int = 0
    drained: bool = False

    def count(self, outcome: Outcome, target: State) -> None:
        """Count an attempt that was settled; from any slot's thread."""
        with _lock:
            match outcome:
                case "ok":
                    self.ok += 1
                case "cancelled":
                    self.cancelled += 1
                case "interrupted":
                    self.interrupted += 1
                case _:
                    self.failed += 1
                    self.dead += target == "dead"

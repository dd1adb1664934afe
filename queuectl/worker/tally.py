"""The counts of what a worker has done."""

from __future__ import annotations

import threading

from msgspec import Struct

from queuectl.record.job import Outcome, State

_lock = threading.Lock()


class Tally(Struct):
    """Attempts by outcome (every kind of failure counts as `failed`), and what the worker left.

    `unsettled` outcomes are left to recovery, `scheduled` jobs wait for a later time, and `drained`
    says that the worker stopped because nothing was left to do.
    """

    ok: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    interrupted: int = 0
    unsettled: int = 0
    scheduled: int = 0
    drained: bool = False

    def count(self, outcome: Outcome, target: State) -> None:
        """Count a settled attempt; may be called from any thread."""
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

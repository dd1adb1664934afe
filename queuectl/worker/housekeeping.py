"""The periodic work of a worker: recovery, scans, leftovers and retention.

It runs in a thread of its own, because each part can take long (a million files, a process that
cannot be killed) and must not delay a slot.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable

from queuectl import clock
from queuectl.disk.durable import discard_tree
from queuectl.errors import SpoolUnusable
from queuectl.spool.hook_recovery import Heir
from queuectl.spool.places import WAITING
from queuectl.spool.recovery import recover
from queuectl.spool.retention import Retention
from queuectl.view.observer import Observer
from queuectl.worker.intake import Intake
from queuectl.worker.scanning import Scanner
from queuectl.worker.troubles import Troubles

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 600.0
"""Seconds between two removals of leftovers."""
RETENTION_BEFORE_LEAVING = 10_000
"""A draining worker waits for retention to end, or to have removed this many jobs."""
UNWATCHED_INTERVAL = 1.0
"""The longest time in seconds between two rounds while no watch is in place."""


class Housekeeper:
    """The periodic work of one worker, in a thread of its own.

    `each_round()` is called at the start of every round and returns whether a watch is in place.
    `overflowed` is set when the watch has lost events. The `heir` takes over the hooks of dead
    workers.
    """

    def __init__(
        self,
        intake: Intake,
        observer: Observer,
        *,
        each_round: Callable[[], bool],
        overflowed: threading.Event,
        heir: Heir | None = None,
    ) -> None:
        self.scanned = threading.Event()
        """Set after the first scan."""
        self.been_round = threading.Event()
        """Set after the first round: scan, recovery, leftovers and, at least in part, retention."""
        self._spool = intake.spool
        self._observer = observer
        self._each_round = each_round
        self._heir = heir
        self._root = os.stat(self._spool.layout.root)
        self._troubles = Troubles()
        self._next_sweep = 0.0
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._scanner = Scanner(intake, overflowed, self._closing)
        self._retention = Retention(self._spool, self._closing)

    def run(self) -> None:
        """Work until closed. Raises SpoolUnusable if the spool is gone."""
        while not self._closing.is_set():
            self._hurry.clear()
            watched = self._round()
            interval = self._spool.settings.last_good.rescan_interval
            self._hurry.wait(interval if watched else min(interval, UNWATCHED_INTERVAL))

    def hurry(self) -> None:
        """Start the next round now."""
        self._hurry.set()

    def close(self) -> None:
        """End the work after the current part of a round."""
        self._closing.set()
        self._hurry.set()

    def _round(self) -> bool:
        """Do one round; return whether a watch is in place."""
        watched = False
        with self._troubles.survived("the spool's directories"):
            self._check_spool()
            watched = self._each_round()
        self._scan(watched)
        self.scanned.set()
        with self._troubles.survived("recovery"):
            grace = self._spool.settings.last_good.kill_grace
            recover(
                self._spool,
                grace=grace,
                draw=random.random(),
                heir=self._heir,
                stopping=self._closing.is_set,
                report=self._observer.recovered,
            )
        if clock.monotonic() >= self._next_sweep:
            self._next_sweep = clock.monotonic() + SWEEP_INTERVAL
            with self._troubles.survived("removing leftovers"):
                self._remove_leftovers()
        self._retain()
        return watched

    def _scan(self, watched: bool) -> None:
        started, full = clock.monotonic(), self._scanner.is_full_scan_due(watched)
        for state in WAITING:
            with self._troubles.survived(f"{state} jobs"):
                self._scanner.scan(state, full=full, watched=watched)
        if full:
            self._scanner.full_scan_done(started)

    def _retain(self) -> None:
        over = True
        with self._troubles.survived("retention"):
            over = self._retention.continue_round()
        if over or self._retention.removed >= RETENTION_BEFORE_LEAVING:
            self.been_round.set()
        if not over:
            self._hurry.set()

    def _check_spool(self) -> None:
        """Make missing directories again. Raises SpoolUnusable if the spool is gone."""
        root = self._spool.layout.root
        try:
            if not os.path.samestat(os.stat(root), self._root):
                raise SpoolUnusable(f"{root} was replaced by another directory")
        except FileNotFoundError:
            raise SpoolUnusable(f"{root} is gone: moved or removed") from None
        for directory in self._spool.layout.directories:
            if not os.path.lexists(directory):
                log.warning("%s was missing; made it again", directory)
        self._spool.make_directories()

    def _remove_leftovers(self) -> None:
        """Remove old files in `tmp/`, and the logs of detached workers that have left."""
        for path in self._spool.reader.leftovers():
            discard_tree(path)

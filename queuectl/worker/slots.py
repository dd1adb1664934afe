"""The slots of a worker: each a thread that takes one job at a time from claim to settle."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from queuectl import clock, slot_lock
from queuectl.disk.durable import discard
from queuectl.disk.reading import exists
from queuectl.errors import (
    ClaimLost,
    InvalidJob,
    NotDurable,
    QueuectlError,
    SpoolUnusable,
    StillRuns,
)
from queuectl.process.waiting import StopSwitch
from queuectl.record import retry
from queuectl.record.job import Attempt, State
from queuectl.record.settings import Settings
from queuectl.spool.reader import Ready, Seen
from queuectl.spool.spool import Claim
from queuectl.view.observer import Observer
from queuectl.worker import attempt
from queuectl.worker.hooks import Hooks
from queuectl.worker.intake import Intake
from queuectl.worker.pauses import Pauses
from queuectl.worker.tally import Tally

log = logging.getLogger(__name__)

SCAN_PATIENCE = 1.0
"""Seconds that slots give the first scan, so that what is most urgent is known when they start."""


class Settled(Struct):
    """A job whose outcome is written, and where it has gone; `owed` is yet to be committed."""

    claim: Claim
    entry: Attempt
    target: State
    seen: Ready
    owed: list[str]
    marker: str | None
    failure: NotDurable | None = None


class Slots:
    """All slots of one worker, over one intake.

    `released()` is called from a slot's thread when it finds nothing to do or has ended,
    `failed(error)` when one has ended by an error that nothing here can mend.
    """

    def __init__(
        self,
        worker: str,
        count: int,
        intake: Intake,
        hooks: Hooks,
        observer: Observer,
        *,
        released: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.worker = worker
        self.left = count
        self.tally = Tally()
        self.observer = observer
        self.spool = intake.spool
        self._count = count
        self._intake = intake
        self._backlog, self._unready = intake.backlog, intake.unready
        self._hooks = hooks
        self._released = released
        self._failed = failed
        self._lock = threading.Lock()
        self._controls: dict[int, StopSwitch] = {}
        self._running: dict[int, tuple[Claim, StopSwitch]] = {}  # by slot
        self._claiming: dict[int, str] = {}  # by slot, the id
        self._stopping = False
        self._trouble = Pauses()
        self._environment = dict(os.environb)  # as it is now: reading it costs as much as a fork

    def threads(self, may_start: threading.Event) -> list[threading.Thread]:
        """Make the slots' threads; each waits a while for `may_start` before its first job."""
        return [
            threading.Thread(target=self._work, args=(number, may_start), name=f"slot-{number}")
            for number in range(1, self._count + 1)
        ]

    def stop(self) -> None:
        """Take no new job."""
        self._stopping = True
        self._backlog.close()

    def stop_now(self) -> None:
        """Take no new job, end the running ones and put them back."""
        self._trouble.given_up.set()
        self.stop()
        with self._lock:
            for _, control in self._running.values():
                control.stop("interrupted")

    @property
    def is_leaving_now(self) -> bool:
        """Whether the running jobs were told to end."""
        return self._trouble.given_up.is_set()

    def heed_cancels(self) -> None:
        """Obey the cancel files beside our claims."""
        with self._lock:
            for claim, control in self._running.values():
                if self._is_cancelled(claim):
                    control.stop("cancelled")

    def _work(self, number: int, may_start: threading.Event) -> None:
        """Take one job after the other, from claim to settle.

        What a settle owes the disk is committed together with the next claim, if there is one to
        be made at once.
        """
        settled: Settled | None = None
        self._controls[number] = StopSwitch()
        try:
            may_start.wait(SCAN_PATIENCE)
            while True:
                entry = self._backlog.take(wait=settled is None, waiting=self._released)
                if settled and (entry is None or self._trouble.is_there):
                    self._make_last(settled)
                    settled = None
                elif entry is None:
                    return
                self._trouble.wait_for_none()
                with slot_lock.held():
                    claim = None
                    while entry and not self._stopping:
                        claim = self._claim(number, *entry, settled)
                        if claim or (settled and settled.failure) or self._trouble.is_there:
                            break
                        entry = self._backlog.take(wait=False)  # another worker was faster
                    if settled:
                        self._make_last(settled)
                        settled = None
                    if claim:
                        settled = self._perform(number, claim)
        except BaseException as error:  # a mistake of ours: leave, so that others recover the job
            self._failed(error)
        finally:
            self._controls[number].close()
            with self._lock:
                self.left -= 1
            self._released()

    def _claim(
        self, number: int, state: State, name: str, seen: Seen, settled: Settled | None
    ) -> Claim | None:
        """Claim a job, and with it commit what was settled before."""
        owed = settled.owed if settled else []
        with self._lock:
            ours = [*self._claiming.values(), *(claim.id for claim, _ in self._running.values())]
            self._claiming[number] = seen.id
        try:
            if seen.id in ours:
                raise StillRuns(f"job {seen.id} still runs")
            claim = self.spool.claim(self.worker, state, name, seen, owed)
            if claim:
                owed.clear()
                if not claim.job.is_due(clock.now()):  # put off since it was seen
                    self.spool.release(claim)
                    return None
                with self._lock:
                    self._running[number] = claim, self._controls[number]
            return claim
        except SpoolUnusable:
            raise
        except StillRuns:
            self._unready.add(state, name)
        except InvalidJob:
            self._intake.look(state, name)
        except (OSError, QueuectlError) as error:
            if settled and isinstance(error, NotDurable):
                self.observer.settle_failed()
                settled.failure = error
            self._unready.add(state, name)  # to be looked at again
            self._trouble.pause(number, f"{name!r} cannot be claimed: {error}")
        finally:
            with self._lock:
                del self._claiming[number]
        return None

    def _make_last(self, settled: Settled) -> None:
        """Commit what was settled, unless it is already, and tell of it."""
        try:
            if settled.failure:  # asking again would not make it so
                raise settled.failure
            self.spool.disk.commit(*settled.owed)
        except (OSError, NotDurable) as error:
            log.error("job %s is settled, but %s", settled.claim.id, error)
        self._hooks.active.set()
        self._hooks.happened(settled.marker)
        self._clean_up(settled.claim)
        self._tell(settled.claim, settled.entry, settled.target)
        self.observer.settled(settled.entry, settled.target)
        if settled.target == "failed":
            self._backlog.add("failed", f"{settled.seen.id}.json", settled.seen)

    def _perform(self, number: int, claim: Claim) -> Settled | None:
        """Run a claimed job and settle it; what it owes the disk is left to the caller."""
        _, control = self._running[number]
        try:
            if self._stopping:
                self.spool.release(claim)
                return None
            if self._is_cancelled(claim):
                control.stop("cancelled")
            self.observer.claimed(claim.job)
            entry = attempt.run(
                self.spool, claim, number, self.settings(), control, self._environment
            )
            return self._settle(number, claim, entry)
        except (OSError, QueuectlError) as error:
            return self._back_off(number, claim, error)
        finally:
            with self._lock:
                del self._running[number]
            control.reset()

    def _back_off(self, number: int, claim: Claim, error: Exception) -> Settled | None:
        """Give up a claim whose command could not be started through no fault of its own."""
        self._trouble.pause(number, f"job {claim.id} cannot be started: {error}")
        if self._is_cancelled(claim):
            entry = Attempt(attempt=claim.attempt, outcome="cancelled", error=str(error))
            return self._settle(number, claim, entry)
        try:
            self._clean_up(claim)
            self.spool.release(claim)
        except (OSError, QueuectlError) as second:
            log.error("job %s cannot be put back yet: %s", claim.id, second)
        return None

    def put_back_strays(self) -> None:
        """Put back what we hold and no slot runs: it could not be put back when it should."""
        with self._lock:
            if self._claiming or self._stopping:
                return  # it may be a slot's, or be meant for recovery
            ours = {(claim.id, claim.attempt) for claim, _ in self._running.values()}
            strays = [p for p in self.spool.claims(self.worker) if (p.id, p.attempt) not in ours]
        for place in strays:
            with contextlib.suppress(OSError, QueuectlError):
                self.spool.put_back(place)

    def _settle(self, number: int, claim: Claim, entry: Attempt) -> Settled | None:
        """Write the outcome, however long the disk refuses; the command is never run again."""
        if entry.outcome != "ok" and self._is_cancelled(claim):
            entry = replace(entry, outcome="cancelled")  # asked for as it was failing anyway
        kept, owed, marker, failure = claim.id, list[str](), None, None
        while True:
            try:
                settings = self.settings()
                record, target = retry.conclude(
                    claim.job,
                    entry,
                    settings.retry_policy,
                    now=clock.now(),
                    draw=random.random(),
                )
                marker = self._hooks.announce(claim, record, target, settings, again=marker)
                kept = self.spool.settle(claim, record, target, owed=owed)
                break
            except ClaimLost as error:
                log.error("%s; its outcome, %s, is not written", error, entry.outcome)
                with contextlib.suppress(OSError, QueuectlError):
                    self._hooks.withdraw(marker)
                self._clean_up(claim)
                return None
            except (OSError, QueuectlError) as error:
                self.observer.settle_failed()
                if isinstance(error, NotDurable) and self._has_moved(claim):
                    failure = error
                    break
                if self._trouble.given_up.is_set():
                    log.error("job %s is left to recovery: %s", claim.id, error)
                    self.tally.unsettled += 1
                    return None
                self._trouble.pause(number, f"job {claim.id} cannot be settled: {error}")
        self._trouble.is_over(number)
        seen = Ready(kept, len(record.history), record)
        return Settled(claim, entry, target, seen, owed, marker, failure)

    def _has_moved(self, claim: Claim) -> bool:
        with contextlib.suppress(OSError):
            return not exists(claim.path)
        return False

    def _is_cancelled(self, claim: Claim) -> bool:
        path = self.spool.layout.claim(claim.worker, claim.id, claim.attempt, "cancel")
        return os.path.lexists(path)  # where that cannot be known, the next round looks again

    def _clean_up(self, claim: Claim) -> None:
        for ending in ("run", "cancel"):
            with contextlib.suppress(OSError):  # left to whoever strikes us off
                discard(self.spool.layout.claim(claim.worker, claim.id, claim.attempt, ending))

    def settings(self) -> Settings:
        """The settings as they stand now; the last good ones if they are broken."""
        try:
            settings = self.spool.settings.current()
        except (OSError, QueuectlError) as error:
            log.error("settings kept as they were: %s", error)
            settings = self.spool.settings.last_good
        self.spool.disk.sync = settings.fsync
        return settings

    def _tell(self, claim: Claim, entry: Attempt, target: State) -> None:
        self.tally.count(entry.outcome, target)
        words = entry.error or "completed"
        if target == "failed":
            words += "; will be retried"
        elif target == "dead":
            words += "; dead"
        level = logging.INFO if entry.outcome == "ok" else logging.WARNING
        log.log(level, "job %s attempt %d: %s", claim.id, entry.attempt, words)

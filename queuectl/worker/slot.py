"""One slot of a worker: a thread that takes one job at a time, from claim to settle.

A settle leaves a commit owed, and the slot makes it together with the commit of its next claim, if
there is a job to claim at once. Nothing is reported, and no retry is queued, before that commit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from queuectl import clock, slot_lock, trouble
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
from queuectl.record.job import Attempt, Job, State
from queuectl.spool import cancels
from queuectl.spool.claims import Moved
from queuectl.spool.places import Claim, Ready, Seen
from queuectl.spool.spool import Spool
from queuectl.view.observer import Observer
from queuectl.worker import attempt
from queuectl.worker.hooks import Hooks
from queuectl.worker.in_hand import InHand
from queuectl.worker.intake import Intake
from queuectl.worker.pauses import Pauses
from queuectl.worker.run_end import NotEnded
from queuectl.worker.tally import Tally
from queuectl.worker.unsettled import PutAside, Unsettled

log = logging.getLogger(__name__)

SCAN_PATIENCE = 1.0
"""Seconds that slots give the first scan, so that they start with the most urgent job."""


class Workshop:
    """What the slots of one worker share.

    `released()` is called from a slot's thread when it finds nothing to do or has ended.
    """

    def __init__(
        self,
        worker: str,
        intake: Intake,
        hooks: Hooks,
        observer: Observer,
        released: Callable[[], None],
    ) -> None:
        self.worker = worker
        self.spool: Spool = intake.spool
        self.intake = intake
        self.hooks = hooks
        self.observer = observer
        self.released = released
        self.tally = Tally()
        self.pauses = Pauses()
        self.in_hand = InHand()
        self.aside = PutAside(self.in_hand, intake.changed)
        self.stopping = False
        self.environment = dict(os.environb)  # copied once: reading it costs as much as a fork

    def is_of_one_file(self, error: Exception) -> bool:
        """Whether an error is the trouble of one file, and not of a whole directory."""
        paths = self.spool.layout
        directories = [*paths.directories, paths.claims(self.worker)]
        usable = os.R_OK | os.W_OK | os.X_OK
        return trouble.owner(error) == "file" and all(os.access(d, usable) for d in directories)


class Settled(Struct, frozen=True):
    """A job whose outcome is on record, and where it has moved to; `owed` is not yet committed.

    `failure` is the error of a commit that failed already.
    """

    claim: Claim
    entry: Attempt
    target: State
    seen: Ready
    owed: list[str]
    marker: str | None
    failure: NotDurable | None = None


class Slot:
    """One slot, known by its number; `run` is its thread."""

    def __init__(self, number: int, shared: Workshop) -> None:
        self.number = number
        self._shared = shared
        self._spool = shared.spool
        self._backlog, self._unready = shared.intake.backlog, shared.intake.unready
        self._postponed = shared.intake.postponed
        self._pauses = shared.pauses

    def open(self) -> None:
        """Get ready to run. Raises OSError."""
        self._switch = StopSwitch()

    def run(self, may_start: threading.Event) -> None:
        """Work until the backlog is closed; wait a while for `may_start` before the first job."""
        try:
            may_start.wait(SCAN_PATIENCE)
            settled: Settled | None = None
            while True:
                waiting = self._backlog.take(wait=settled is None, waiting=self._shared.released)
                if settled and (waiting is None or self._pauses.any_now):
                    self._confirm(settled, settled.failure)
                    settled = None
                elif waiting is None:
                    return
                self._pauses.wait_for_none()
                with slot_lock.held():
                    settled = self._work_on(waiting, settled)
        finally:
            self._switch.close()

    def _work_on(
        self, waiting: tuple[State, str, Seen] | None, settled: Settled | None
    ) -> Settled | None:
        """Claim the next job, and with it commit the job settled before; then run and settle it."""
        claim, failure = None, settled.failure if settled else None
        while waiting and not self._shared.stopping:
            try:
                claim = self._claim(*waiting, settled)
            except NotDurable as error:
                failure = error
            if claim or failure or self._pauses.any_now:
                break
            waiting = self._backlog.take(wait=False)  # another worker was faster
        if settled:
            self._confirm(settled, failure, committed=claim is not None)
        return self._perform(claim) if claim else None

    # -- claim -----------------------------------------------------------------------------

    def _claim(self, state: State, name: str, seen: Seen, settled: Settled | None) -> Claim | None:
        """Claim a job, and commit what the job settled before still owes.

        Returns None if the job cannot be claimed now. Raises NotDurable, SpoolUnusable.
        """
        owed, key = settled.owed if settled else [], (state, name)
        if key in self._postponed:  # the look at it came before it was postponed
            return None
        try:
            in_hand = self._shared.in_hand
            with in_hand.claiming():
                worker = self._shared.worker
                claim = self._spool.claims.take(worker, state, name, seen, owed, in_hand.has)
                if claim and not claim.job.is_due(clock.now()):  # put off since it was read
                    self._spool.claims.release(claim)
                    return None
                if claim:
                    in_hand.start(self.number, claim, self._switch)
                self._postponed.over(key)
                return claim
        except SpoolUnusable:
            raise
        except StillRuns as error:
            barrier = partial(self._spool.reader.is_running, error.run_file)
            self._postponed.put_off(key, str(error), barrier)
        except InvalidJob:
            self._shared.intake.look(state, name)
        except (OSError, QueuectlError) as error:
            if self._shared.is_of_one_file(error):
                self._postponed.put_off(key, f"{name!r} cannot be claimed: {error}")
                return None
            self._unready.add(state, name)  # to be looked at again
            self._shared.intake.changed()
            if settled and isinstance(error, NotDurable):
                self._shared.observer.settle_failed()
            self._pauses.pause(self.number, f"{name!r} cannot be claimed: {error}")
            if isinstance(error, NotDurable):
                raise
        return None

    # -- run -------------------------------------------------------------------------------

    def _perform(self, claim: Claim) -> Settled | None:
        """Run a claimed job and settle it; the commit is left to the caller."""
        try:
            try:
                entry = self._run(claim)
            except ClaimLost as error:
                log.error("%s; it is not started", error)
                self._clean_up(claim)
                return None
            except (OSError, QueuectlError) as error:
                return self._back_off(claim, error)
            except NotEnded as error:
                log.error("job %s is left to recovery: %s", claim.id, error)
                self._shared.tally.unsettled += 1
                return None
            # No error from here on may put the job back: its command has run.
            return self._settle(claim, entry) if entry else None
        finally:
            self._shared.in_hand.end(self.number)
            self._switch.reset()

    def _run(self, claim: Claim) -> Attempt | None:
        """Run a claimed job; None if it was put back because the worker is leaving."""
        if self._shared.stopping:
            self._spool.claims.release(claim)
            return None
        if self.is_cancelled(claim):
            self._switch.stop("cancelled")
        self._shared.observer.claimed(claim.job)
        self._spool.refresh_settings()
        return attempt.run(
            self._spool,
            claim,
            self.number,
            self._spool.settings.last_good,
            self._switch,
            self._shared.environment,
            self._pauses.given_up,
        )

    def _back_off(self, claim: Claim, error: Exception) -> Settled | None:
        """Give up a claim whose command could not be started, through no fault of its own."""
        why = f"job {claim.id} cannot be started: {error}"
        if self._shared.is_of_one_file(error):
            self._postponed.put_off((claim.origin, f"{claim.id}.json"), why)
        else:
            self._pauses.pause(self.number, why)
        if self.is_cancelled(claim):
            entry = Attempt(attempt=claim.attempt, outcome="cancelled", error=str(error))
            return self._settle(claim, entry)
        try:
            self._clean_up(claim)
            self._spool.claims.release(claim)
        except (OSError, QueuectlError) as second:
            log.error("job %s cannot be put back yet: %s", claim.id, second)
        return None

    # -- settle ----------------------------------------------------------------------------

    def settle_again(self, outcome: Unsettled) -> None:
        """Try once more to settle a job that was put aside. For the main thread."""
        settled = self._settle(outcome.claim, outcome.entry, outcome.marker, is_aside=True)
        if settled:
            self._confirm(settled, settled.failure)
        self._shared.aside.done(outcome)

    def _settle(
        self, claim: Claim, entry: Attempt, marker: str | None = None, *, is_aside: bool = False
    ) -> Settled | None:
        """Put the outcome on record, however long the disk refuses; never run the command again.

        Returns None if the claim is lost, is left to recovery, or is put aside because of one file.
        A claim that `is_aside` already is tried once.
        """
        if entry.outcome != "ok" and self.is_cancelled(claim):
            entry = replace(entry, outcome="cancelled")  # cancelled while it was failing anyway
        try:
            return self._try_to_settle(claim, entry, marker, is_aside=is_aside)
        finally:
            self._pauses.reset(self.number)

    def _try_to_settle(
        self, claim: Claim, entry: Attempt, marker: str | None, *, is_aside: bool
    ) -> Settled | None:
        while True:
            moved, failure = Moved(claim.id, []), None
            try:
                record, target = self._decide(claim, entry)
                settings = self._spool.settings.last_good
                marker = self._shared.hooks.announce(claim, record, target, settings, again=marker)
                moved = self._spool.claims.settle(claim, record, target)
            except ClaimLost as error:
                self._lose(claim, entry, marker, error)
                return None
            except (OSError, QueuectlError) as error:
                self._shared.observer.settle_failed()
                if isinstance(error, NotDurable) and _has_moved(claim):
                    failure = error
                elif self._pauses.given_up.is_set():
                    log.error("job %s is left to recovery: %s", claim.id, error)
                    self._shared.tally.unsettled += 1
                    return None
                else:
                    why = f"job {claim.id} cannot be settled: {error}"
                    is_put = is_aside or self._shared.is_of_one_file(error)
                    if is_put and self._shared.aside.put(Unsettled(claim, entry, marker), why):
                        return None
                    self._pauses.pause(self.number, why, until_reset=True)
                    continue
            seen = Ready(moved.id, len(record.history), record)
            return Settled(claim, entry, target, seen, moved.owed, marker, failure)

    def _decide(self, claim: Claim, entry: Attempt) -> tuple[Job, State]:
        self._spool.refresh_settings()
        policy = self._spool.settings.last_good.retry_policy
        return retry.next_record(claim.job, entry, policy, now=clock.now(), draw=random.random())

    def _lose(self, claim: Claim, entry: Attempt, marker: str | None, error: ClaimLost) -> None:
        log.error("%s; its outcome, %s, is not recorded", error, entry.outcome)
        with contextlib.suppress(OSError, QueuectlError):
            self._shared.hooks.withdraw(marker)
        self._clean_up(claim)

    def _confirm(
        self, settled: Settled, failure: NotDurable | None, *, committed: bool = False
    ) -> None:
        """Commit a settled job, unless it is `committed` already, and report it.

        After a `failure` it is not committed again: that would not make it durable.
        """
        try:
            if failure:
                raise failure
            if not committed:
                self._spool.disk.commit(*settled.owed)
        except (OSError, NotDurable) as error:
            log.error("job %s is settled, but %s", settled.claim.id, error)
        shared = self._shared
        shared.hooks.active.set()
        shared.hooks.happened(settled.marker)
        self._clean_up(settled.claim)
        shared.tally.count(settled.entry.outcome, settled.target)
        _report(settled)
        shared.observer.settled(settled.entry, settled.target)
        if settled.target == "failed":
            self._backlog.add("failed", f"{settled.seen.id}.json", settled.seen)

    # -- files beside the claim ------------------------------------------------------------

    def is_cancelled(self, claim: Claim) -> bool:
        """Whether somebody has asked for the end of a claimed job."""
        return cancels.is_requested(self._spool.layout, claim)

    def _clean_up(self, claim: Claim) -> None:
        for ending in ("run", "cancel"):
            with contextlib.suppress(OSError):  # then it is removed with the holder
                path = self._spool.layout.claim(claim.worker, claim.id, claim.attempt, ending)
                discard(path)


def _has_moved(claim: Claim) -> bool:
    with contextlib.suppress(OSError):
        return not exists(claim.path)
    return False


def _report(settled: Settled) -> None:
    entry = settled.entry
    words = entry.error or "completed"
    if settled.target == "failed":
        words += "; will be retried"
    elif settled.target == "dead":
        words += "; dead"
    level = logging.INFO if entry.outcome == "ok" else logging.WARNING
    log.log(level, "job %s attempt %d: %s", settled.claim.id, entry.attempt, words)

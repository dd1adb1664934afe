"""A worker: N slots that claim, run and settle jobs over one backlog, until it is told to stop.

Threads: the main one waits for events and signals and hands out; a housekeeper recovers, scans
and sweeps; each slot takes one job at a time from claim to settle. The commands are processes
of their own, so a slot costs little.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from queuectl import clock, layout, process, retry, runner
from queuectl.config import Settings
from queuectl.errors import ClaimLost, InvalidJob, NotDurable, QueuectlError, SpoolUnusable
from queuectl.fsio import discard, read_regular, stands
from queuectl.housekeeping import Housekeeper
from queuectl.intake import Intake
from queuectl.job import Attempt, State, WorkerInfo
from queuectl.lookup import Ready
from queuectl.recovery import Holder
from queuectl.runner import Control
from queuectl.spool import Claim, Spool
from queuectl.tally import Observer, Tally
from queuectl.trouble import Trouble
from queuectl.wake import Wake

log = logging.getLogger(__name__)


SCAN_PATIENCE = 1.0
"""Seconds that slots give the first scan, so that what is most urgent is known when they start."""


class Worker:
    """One `worker start`."""

    def __init__(
        self, spool: Spool, slots: int, *, drain: bool = False, observer: Observer | None = None
    ) -> None:
        self.spool = spool
        self.slots = slots
        self.drain = drain
        self.observer = observer
        self.tally = Tally()
        self.info = WorkerInfo(
            name=layout.new_worker(process.hostname(), os.getpid()),
            host=process.hostname(),
            boot_id=process.boot_id(),
            pid=os.getpid(),
            slots=slots,
            started_at=clock.format_timestamp(clock.now()),
        )
        self._intake = Intake(spool)
        self._backlog, self._unready = self._intake.backlog, self._intake.unready
        paths = spool.layout
        self._wake = Wake(
            [*(paths.states[state] for state in layout.WAITING), paths.workers],
            creations=[paths.claims(self.info.name)],
        )
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Claim, Control]] = {}  # by slot
        self._stopping = False
        self._slots_left = slots
        self._failure: BaseException | None = None
        self._claiming: set[int] = set()
        self._trouble = Trouble()
        self._housekeeper = Housekeeper(
            spool,
            look=self._intake.look,
            knows=self._intake.knows,
            each_round=self._each_round,
            overflowed=self._wake.overflowed,
            recovered=observer.recovered if observer is not None else None,
        )

    # -- life ------------------------------------------------------------------------------

    def run(self, ready: Callable[[str], None] | None = None) -> Tally:
        """Work until told to stop, or with `drain` until nothing is left to do.

        `ready` is called with the worker's name once it can claim. Raises SpoolUnusable if
        the spool is gone, OSError if the worker cannot enrol.
        """
        with self._signals(), Holder(self.spool, self.info) as self._holder:
            self._wake.arm()
            threads = [
                threading.Thread(target=self._slot, args=(number,), name=f"slot-{number}")
                for number in range(1, self.slots + 1)
            ]
            keeper = threading.Thread(target=self._keep_house, name="housekeeper")
            for thread in [keeper, *threads]:
                thread.start()
            if ready is not None:
                ready(self.info.name)
            try:
                while self._slots_left:
                    self._step()
            finally:
                self.stop()
                self._housekeeper.close()
                for thread in [*threads, keeper]:
                    thread.join()
                self._wake.close()
        if self._failure is not None:
            raise self._failure
        self.tally.scheduled = self._backlog.scheduled()
        return self.tally

    def stop(self) -> None:
        """Take no new job; leave when the running ones have ended."""
        self._stopping = True
        self._backlog.close()
        self._wake.notify()

    def stop_now(self) -> None:
        """End the running jobs, put them back, and leave."""
        self._trouble.given_up.set()
        self.stop()
        with self._lock:
            for _, control in self._running.values():
                control.stop("interrupted")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        asked: list[int] = []

        def handle(number: int, _: object) -> None:
            asked.append(number)
            self._asked_by_signal = len(asked)
            self._wake.notify()

        self._asked_by_signal = 0
        before = {
            number: signal.signal(number, handle)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- the main thread -------------------------------------------------------------------

    def _step(self) -> None:
        """Wait for something to happen, and see to it."""
        paths, died = self._wake.wait(self._patience())
        if self._asked_by_signal > 1 and not self._trouble.given_up.is_set():
            log.info("stopping now: ending the running jobs")
            self.stop_now()
        elif self._asked_by_signal and not self._stopping:
            log.info("stopping when the running jobs have ended; signal again to end them now")
            self.stop()
        for path in paths:
            self._happened(path)
        self._intake.look_again()
        if died:
            self._housekeeper.hurry()
        if self.drain and not self._stopping and self._is_drained():
            self.tally.drained = True
            self.stop()

    def _patience(self) -> float:
        if self._unready.names():
            return self._intake.pause()
        return 1.0 if self.drain else 60.0

    def _happened(self, path: str) -> None:
        """Follow the hint that something has changed at a path."""
        directory, name = os.path.split(path)
        paths = self.spool.layout
        for state in layout.WAITING:
            if directory == paths.states[state] and layout.is_job_name(name):
                self._intake.look(state, name)
        if directory == paths.claims(self.info.name) and name.endswith(".cancel"):
            self._heed_cancels()
        if directory == paths.workers:
            self._heed_stop()
            if name.endswith(".json"):
                self._follow_peers()

    def _follow_peers(self) -> None:
        """Be woken when another worker of this host dies."""
        for info in self.spool.workers():
            self._wake.follow(info)

    def _heed_stop(self) -> None:
        """Obey `workers/NAME.stop`, if it is there."""
        with contextlib.suppress(OSError):
            said, _ = read_regular(self.spool.layout.worker(self.info.name, "stop"), 64)
            now = said.strip() == b"now"
            if now and not self._trouble.given_up.is_set():
                self.stop_now()
            elif not self._stopping:
                log.info("told to stop when the running jobs have ended")
                self.stop()

    def _heed_cancels(self) -> None:
        """Obey the cancel files beside our claims."""
        with self._lock:
            for claim, control in self._running.values():
                if self._is_cancelled(claim):
                    control.stop("cancelled")

    def _each_round(self) -> bool:
        """See to what an event may have failed to tell; return whether the watch is whole."""
        if not self._holder.stands():
            lock = self.spool.layout.worker(self.info.name, "lock")
            raise SpoolUnusable(f"{lock} is gone: others take this worker for dead")
        self._settings()
        self._backlog.look_at_the_clock()
        self._follow_peers()
        self._put_back_strays()
        self._heed_stop()
        self._heed_cancels()
        return self._wake.arm()

    def _is_drained(self) -> bool:
        """Whether nothing is due, waiting for a retry or running, here or elsewhere."""
        if not self._housekeeper.been_round.is_set() or self._unready.names():
            return False
        if not self._backlog.is_idle(self.slots):
            return False
        self._intake.look_at_what_is_new()
        idle = self._backlog.is_idle(self.slots) and not self._unready.names()
        return idle and not any(True for _ in self.spool.claims())

    def _keep_house(self) -> None:
        try:
            self._housekeeper.run()
        except BaseException as error:
            self._fail(error)

    # -- a slot's thread -------------------------------------------------------------------

    def _slot(self, number: int) -> None:
        try:
            self._housekeeper.scanned.wait(SCAN_PATIENCE)
            while (entry := self._backlog.take()) is not None:
                self._trouble.wait_for_none()
                if self._stopping:
                    return
                if (claim := self._claim(number, *entry)) is not None:
                    self._perform(number, claim)
                if self.drain:
                    self._wake.notify()
        except BaseException as error:  # a mistake of ours: leave, so that others recover the job
            self._fail(error)
        finally:
            with self._lock:
                self._slots_left -= 1
            self._wake.notify()

    def _fail(self, error: BaseException) -> None:
        """Leave because of an error that nothing here can mend."""
        if self._failure is None:
            log.critical("leaving: %s", error)
        self._failure = self._failure or error
        self.stop()

    def _claim(self, number: int, state: State, name: str) -> Claim | None:
        with self._lock:
            self._claiming.add(number)
        try:
            sight = self.spool.look(state, name)
            if not isinstance(sight, Ready):
                self._intake.look(state, name)
                return None
            if sight.job.run_at and clock.parse_timestamp(sight.job.run_at) > clock.now():
                self._backlog.add(state, name, sight.job)
                return None
            if self.spool.still_runs(sight.id):
                self._unready.add(state, name)
                return None
            claim = self.spool.claim(self.info.name, state, name, sight)
            if claim is not None:
                with self._lock:
                    self._running[number] = claim, Control()
            return claim
        except SpoolUnusable:
            raise
        except InvalidJob:
            self._intake.look(state, name)
        except (OSError, QueuectlError) as error:
            self._unready.add(state, name)  # to be looked at again
            self._trouble.pause(number, f"{name!r} cannot be claimed: {error}")
        finally:
            with self._lock:
                self._claiming.discard(number)
        return None

    def _perform(self, number: int, claim: Claim) -> None:
        _, control = self._running[number]
        try:
            if self._stopping:
                self.spool.release(claim)
                return
            self._heed_cancels()
            if self.observer is not None:
                self.observer.claimed(claim.job)
            entry = runner.run(self.spool, claim, number, self._settings(), control)
            self._settle(number, claim, entry)
        except (OSError, QueuectlError) as error:
            self._back_off(number, claim, error)
        finally:
            with self._lock:
                del self._running[number]
            control.close()

    def _back_off(self, number: int, claim: Claim, error: Exception) -> None:
        """Give up a claim whose command could not be started through no fault of its own."""
        self._trouble.pause(number, f"job {claim.id} cannot be started: {error}")
        if self._is_cancelled(claim):
            entry = Attempt(attempt=claim.attempt, outcome="cancelled", error=str(error))
            self._settle(number, claim, entry)
            return
        try:
            self._clean_up(claim)
            self.spool.release(claim)
        except (OSError, QueuectlError) as second:
            log.error("job %s cannot be put back yet: %s", claim.id, second)

    def _put_back_strays(self) -> None:
        """Put back what we hold and no slot runs: it could not be put back when it should."""
        with self._lock:
            if self._claiming or self._stopping:
                return  # it may be a slot's, or be meant for recovery
            ours = {(claim.id, claim.attempt) for claim, _ in self._running.values()}
            strays = [p for p in self.spool.claims(self.info.name) if (p.id, p.attempt) not in ours]
        for place in strays:
            with contextlib.suppress(OSError, QueuectlError):
                self.spool.put_back(place)

    def _settle(self, number: int, claim: Claim, entry: Attempt) -> None:
        """Write the outcome, however long the disk refuses; the command is never run again."""
        kept = claim.id
        if entry.outcome != "ok" and self._is_cancelled(claim):
            entry = replace(entry, outcome="cancelled")  # asked for as it was failing anyway
        while True:
            try:
                record, target = retry.conclude(
                    claim.job,
                    entry,
                    self._settings().retry_policy,
                    now=clock.now(),
                    draw=random.random(),
                )
                kept = self.spool.settle(claim, record, target)
                break
            except ClaimLost as error:
                log.error("%s; its outcome, %s, is not written", error, entry.outcome)
                self._clean_up(claim)
                return
            except (OSError, QueuectlError) as error:
                if self.observer is not None:
                    self.observer.settle_failed()
                if isinstance(error, NotDurable) and self._has_moved(claim):
                    log.error("job %s is settled, but %s", claim.id, error)
                    break
                if self._trouble.given_up.is_set():
                    log.error("job %s is left to recovery: %s", claim.id, error)
                    self.tally.unsettled += 1
                    return
                self._trouble.pause(number, f"job {claim.id} cannot be settled: {error}")
        self._trouble.is_over(number)
        self._clean_up(claim)
        self._tell(claim, entry, target)
        if self.observer is not None:
            self.observer.settled(entry, target)
        if target == "failed":
            self._backlog.add("failed", f"{kept}.json", record)

    def _has_moved(self, claim: Claim) -> bool:
        with contextlib.suppress(OSError):
            return not stands(claim.path)
        return False

    def _is_cancelled(self, claim: Claim) -> bool:
        path = self.spool.layout.claim(claim.worker, claim.id, claim.attempt, "cancel")
        return os.path.lexists(path)  # where that cannot be known, the next round looks again

    def _clean_up(self, claim: Claim) -> None:
        for ending in ("run", "cancel"):
            with contextlib.suppress(OSError):  # left to whoever strikes us off
                discard(self.spool.layout.claim(claim.worker, claim.id, claim.attempt, ending))

    def _settings(self) -> Settings:
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

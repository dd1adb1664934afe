"""A worker: N slots that claim, run and settle jobs over one backlog, until it is told to stop.

Threads: the main thread waits for events and signals and fills the backlog; a housekeeper recovers,
scans and removes leftovers; each slot takes one job at a time from claim to settle; hooks have
threads while there are any to run. The commands are processes of their own, so a slot costs little.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from queuectl import clock, host
from queuectl.errors import QueuectlError, SpoolUnusable
from queuectl.record.running import WorkerInfo
from queuectl.spool import layout
from queuectl.spool.holder import Holder, reserve
from queuectl.spool.places import WAITING
from queuectl.spool.spool import Spool
from queuectl.spool.watch import Watch
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.worker import threads
from queuectl.worker.descriptors import make_room
from queuectl.worker.hooks import Hooks
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.intake import Intake
from queuectl.worker.slot import Workshop
from queuectl.worker.slots import Slots
from queuectl.worker.stopping import StopSignals, Wish, announce_stop, read_stop_file
from queuectl.worker.tally import Tally
from queuectl.worker.troubles import Troubles

log = logging.getLogger(__name__)


class Worker:
    """One `worker start`.

    Raises InvalidSetting if the settings are not valid, QueuectlError if the limit on open files is
    too low, OSError.
    """

    def __init__(
        self,
        spool: Spool,
        slots: int,
        *,
        drain: bool = False,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self.spool = spool
        self.drain = drain
        spool.load_settings()  # never the defaults because somebody is just writing the file
        make_room(slots)
        self._reserved = reserve(spool)
        self.info = _new_worker_info(self._reserved.name, slots)
        paths = spool.layout
        self._watch = Watch(
            [*(paths.states[state] for state in WAITING), paths.workers],
            creations=[paths.claims(self.info.name)],
        )
        self._signals = StopSignals(self._watch)
        self._hooks = Hooks(spool, self.info.name, slots, changed=self._watch.notify)
        self._intake = Intake(spool, self._hooks, self._watch.notify, observer)
        shared = Workshop(self.info.name, self._intake, self._hooks, observer, self._released)
        self.tally = shared.tally
        self._slots = Slots(slots, shared, failed=self._fail)
        self._housekeeper = Housekeeper(
            self._intake,
            observer,
            each_round=self._each_round,
            overflowed=self._watch.overflowed,
            heir=self._hooks,
        )
        self._troubles = Troubles()
        self._stopping = False
        self._failure: BaseException | None = None

    @property
    def name(self) -> str:
        """The worker's name, which no other worker has."""
        return self.info.name

    # -- life ------------------------------------------------------------------------------

    def run(self, ready: Callable[[str], None] | None = None) -> Tally:
        """Work until told to stop, or with `drain` until nothing is left to do.

        `ready` is called with the worker's name once it can claim. Raises SpoolUnusable if
        the spool is gone, OSError if the worker cannot make its files.
        """
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited from an odd parent:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # no exit status could be known
        with self._signals.caught(), Holder(self.spool, self.info, self._reserved) as self._holder:
            self._watch.arm()
            keeper = threads.start("housekeeper", self._housekeeper.run, self._keeper_ended)
            try:
                self._slots.start(may_start=self._housekeeper.scanned)
                if ready is not None:
                    ready(self.info.name)
                while self._slots.left or (self._slots.unsettled and self._failure is None):
                    self._step()
            finally:
                self.stop()
                self._housekeeper.close()
                self._slots.join()
                self._slots.leave_unsettled()
                keeper.join()
                self._finish_hooks()
                signal.set_wakeup_fd(-1)  # before its number is another file's
                self._watch.close()
        if self._failure is not None:
            raise self._failure
        with self._troubles.survived("jobs scheduled for later"):
            self.tally.scheduled = self._intake.scheduled()
        return self.tally

    def stop(self) -> None:
        """Take no new job; leave when the running ones have ended."""
        if not self._stopping:
            self._stopping = True
            announce_stop(self.spool.layout.worker(self.name, "stop"), self.spool.disk.file_mode)
        self._slots.stop()
        self._watch.notify()

    def stop_now(self) -> None:
        """End the running jobs, put them back, leave hooks to others, and leave."""
        self._hooks.stop_now()
        self._slots.stop_now()
        self.stop()

    # -- the main thread -------------------------------------------------------------------

    def _step(self) -> None:
        """Wait for something to happen, and handle it."""
        paths, died = self._watch.wait(self._patience())
        self._obey(self._signals.wish, "signal again to end them now")
        for path in paths:
            with self._troubles.survived("changes in the spool"):
                self._happened(path)
        self._intake.look_again()
        self._slots.settle_again()
        if died:
            self._housekeeper.hurry()
        self._hooks.start_due()
        with self._troubles.survived("the hook on_idle cannot be run yet"):
            self._announce_idle()
        with self._troubles.survived("whether all jobs have ended"):
            if self.drain and not self._stopping and self._is_drained():
                self.tally.drained = True
                self.stop()

    def _patience(self) -> float:
        is_asked = self.drain or self._stopping or self._awaits_idle or self._hooks.waiting
        dates = (self._intake.seconds_to_next(), self._slots.seconds_to_next())
        return min([1.0 if is_asked else 60.0, *(date for date in dates if date is not None)])

    def _happened(self, path: str) -> None:
        """Follow the hint that something has changed at a path."""
        directory, name = os.path.split(path)
        paths = self.spool.layout
        for state in WAITING:
            if directory == paths.states[state] and layout.is_job_name(name):
                self._intake.look(state, name)
        if directory == paths.claims(self.info.name) and name.endswith(".cancel"):
            self._slots.check_cancels()
        if directory == paths.workers:
            self._obey_stop_file()
            if name.endswith(".json"):
                self._follow_peers()

    def _obey(self, wish: Wish | None, hint: str = "") -> None:
        """Stop if that is asked for, and log it the first time."""
        if wish == "stop now" and not self._slots.is_leaving_now:
            log.info("stopping now: ending the running jobs")
            self.stop_now()
        elif wish and not self._stopping:
            log.info("stopping when the running jobs have ended%s", f"; {hint}" if hint else "")
            self.stop()

    def _obey_stop_file(self) -> None:
        self._obey(read_stop_file(self.spool.layout.worker(self.info.name, "stop")))

    def _follow_peers(self) -> None:
        """Be woken when another worker of this host dies."""
        for info in self.spool.reader.workers():
            self._watch.follow(info)

    def _each_round(self) -> bool:
        """Do what a lost event should have caused; return whether the watch is in place."""
        if not self._holder.is_valid():
            lock = self.spool.layout.worker(self.info.name, "lock")
            raise SpoolUnusable(f"{lock} is missing: others take this worker for dead")
        self.spool.refresh_settings()
        self._intake.backlog.look_at_the_clock()
        self._follow_peers()
        self._slots.put_back_strays()
        self._obey_stop_file()
        self._slots.check_cancels()
        self._slots.check_starts()
        return self._watch.arm()

    # -- idle ------------------------------------------------------------------------------

    def _is_drained(self) -> bool:
        """Whether nothing is due, waiting for a retry or running, and no hook is left to run."""
        return not self._hooks.busy and self._housekeeper.been_round.is_set() and self._is_idle()

    def _is_idle(self) -> bool:
        """Whether nothing is due, waiting for a retry or running, here or elsewhere."""
        if not self._knows_of_no_work() or self._has_claims():
            return False
        self._intake.look_at_unknown()
        return self._knows_of_no_work() and not self._has_claims()

    def _knows_of_no_work(self) -> bool:
        return not self._intake.awaits_files and self._intake.backlog.is_idle(self._slots.left)

    def _has_claims(self) -> bool:
        return any(True for _ in self.spool.reader.claims())

    @property
    def _awaits_idle(self) -> bool:
        """Whether there was work, and a hook runs at its end."""
        return self._hooks.active.is_set() and self.spool.settings.last_good.on_idle is not None

    def _announce_idle(self) -> None:
        """Make the hook on_idle due if, after work, the queue has become idle."""
        if not self._awaits_idle or not (self._housekeeper.been_round.is_set() or self._stopping):
            return
        self._hooks.active.clear()  # before the look: work that ends during it is seen next time
        is_announced = False
        try:
            if self._is_idle():
                self._hooks.become_idle()
                is_announced = True
        finally:
            if not is_announced:
                self._hooks.active.set()

    # -- the end ---------------------------------------------------------------------------

    def _finish_hooks(self) -> None:
        """Wait for the hooks; those that are stopped now are left to recovery."""
        if self._failure is None:
            with self._troubles.survived("the hook on_idle cannot be run"):
                self._announce_idle()
        else:
            self._hooks.stop_now()
        if self._hooks.busy:
            log.info("waiting for %d hooks; signal again to leave them to others", self._hooks.left)
        while self._hooks.busy:
            self._step()
            self._obey_stop_file()

    def _keeper_ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._fail("housekeeper", error)

    def _released(self) -> None:
        """Wake the main thread when a slot has ended or finds nothing to do."""
        if self.drain or not self._slots.left or self._awaits_idle:
            self._watch.notify()

    def _fail(self, thread: str, error: BaseException) -> None:
        """Leave because a thread has ended by an error, which `run` raises at the end."""
        if not isinstance(error, QueuectlError):  # a bug
            log.critical("leaving: %s has ended by %s: %s", thread, type(error).__name__, error)
        elif self._slots.busy:  # otherwise it is said at once, by whoever started the worker
            log.critical("leaving when the running jobs have ended: %s", error)
        self._failure = self._failure or error
        self.stop()


def _new_worker_info(name: str, slots: int) -> WorkerInfo:
    return WorkerInfo(
        name=name,
        host=host.hostname(),
        boot_id=host.boot_id(),
        pid_namespace=host.pid_namespace(),
        pid=os.getpid(),
        slots=slots,
        started_at=clock.format_timestamp(clock.now()),
    )

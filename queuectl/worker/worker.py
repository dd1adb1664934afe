"""A worker: N slots that claim, run and settle jobs over one backlog, until it is told to stop.

Threads: the main one waits for events and signals and hands out; a housekeeper recovers, scans
and sweeps; each slot takes one job at a time from claim to settle; hooks have threads while there
are any to run. The commands are processes of their own, so a slot costs little.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

from queuectl import clock, host
from queuectl.disk.reading import read_regular
from queuectl.errors import QueuectlError, SpoolUnusable
from queuectl.record.running import WorkerInfo
from queuectl.spool import layout
from queuectl.spool.holder import Holder
from queuectl.spool.spool import Spool
from queuectl.spool.watch import Watch
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.worker.hooks import Hooks
from queuectl.worker.housekeeping import Housekeeper
from queuectl.worker.intake import Intake
from queuectl.worker.slots import Slots
from queuectl.worker.tally import Tally

log = logging.getLogger(__name__)


class Worker:
    """One `worker start`."""

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
        self.info = WorkerInfo(
            name=layout.new_worker(host.hostname(), os.getpid()),
            host=host.hostname(),
            boot_id=host.boot_id(),
            pid=os.getpid(),
            slots=slots,
            started_at=clock.format_timestamp(clock.now()),
        )
        self._hooks = Hooks(spool, self.info.name, slots, changed=self._released)
        self._intake = Intake(spool, self._hooks)
        self._backlog, self._unready = self._intake.backlog, self._intake.unready
        self._slots = Slots(
            self.info.name,
            slots,
            self._intake,
            self._hooks,
            observer,
            released=self._released,
            failed=self._fail,
        )
        self.tally = self._slots.tally
        paths = spool.layout
        self._wake = Watch(
            [*(paths.states[state] for state in layout.WAITING), paths.workers],
            creations=[paths.claims(self.info.name)],
        )
        self._stopping = False
        self._failure: BaseException | None = None
        self._housekeeper = Housekeeper(
            spool,
            look=self._intake.look,
            look_ahead=self._intake.look_ahead,
            knows=self._intake.knows,
            each_round=self._each_round,
            overflowed=self._wake.overflowed,
            recovered=observer.recovered,
            heir=self._hooks,
        )

    @property
    def name(self) -> str:
        """The worker's name, which no other worker has."""
        return self.info.name

    @property
    def log_path(self) -> str:
        """The path of its log, for a worker in the background."""
        return self.spool.layout.worker(self.name, "log")

    # -- life ------------------------------------------------------------------------------

    def run(self, ready: Callable[[str], None] | None = None) -> Tally:
        """Work until told to stop, or with `drain` until nothing is left to do.

        `ready` is called with the worker's name once it can claim. Raises SpoolUnusable if
        the spool is gone, OSError if the worker cannot enrol.
        """
        with self._signals(), Holder(self.spool, self.info) as self._holder:
            self._wake.arm()
            threads = self._slots.threads(may_start=self._housekeeper.scanned)
            keeper = threading.Thread(target=self._keep_house, name="housekeeper")
            for thread in [keeper, *threads]:
                thread.start()
            if ready is not None:
                ready(self.info.name)
            try:
                while self._slots.left:
                    self._step()
            finally:
                self.stop()
                self._housekeeper.close()
                for thread in [*threads, keeper]:
                    thread.join()
                self._see_hooks_out()
                signal.set_wakeup_fd(-1)  # before its number is another file's
                self._wake.close()
        if self._failure is not None:
            raise self._failure
        self.tally.scheduled = self._backlog.scheduled()
        return self.tally

    def stop(self) -> None:
        """Take no new job; leave when the running ones have ended."""
        self._stopping = True
        self._slots.stop()
        self._wake.notify()

    def stop_now(self) -> None:
        """End the running jobs, put them back, leave hooks to others, and leave."""
        self._hooks.stop_now()
        self._slots.stop_now()
        self.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        asked: list[int] = []

        def handle(number: int, _: object) -> None:
            asked.append(number)
            self._asked_by_signal = len(asked)
            self._wake.notify()

        self._asked_by_signal = 0
        # A signal may come just before the wait begins, or to another thread: then only what is
        # written here ends the wait.
        fd = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, handle)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup
        }
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- the main thread -------------------------------------------------------------------

    def _step(self) -> None:
        """Wait for something to happen, and see to it."""
        paths, died = self._wake.wait(self._patience())
        if self._asked_by_signal > 1 and not self._slots.is_leaving_now:
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
        self._see_if_idle()
        if self.drain and not self._stopping and self._is_drained():
            self.tally.drained = True
            self.stop()

    def _patience(self) -> float:
        if self._unready.names():
            return self._intake.pause()
        return 1.0 if self.drain or self._stopping or self._awaits_idle else 60.0

    def _happened(self, path: str) -> None:
        """Follow the hint that something has changed at a path."""
        directory, name = os.path.split(path)
        paths = self.spool.layout
        for state in layout.WAITING:
            if directory == paths.states[state] and layout.is_job_name(name):
                self._intake.look(state, name)
        if directory == paths.claims(self.info.name) and name.endswith(".cancel"):
            self._slots.heed_cancels()
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
            if now and not self._slots.is_leaving_now:
                self.stop_now()
            elif not self._stopping:
                log.info("told to stop when the running jobs have ended")
                self.stop()

    def _each_round(self) -> bool:
        """See to what an event may have failed to tell; return whether the watch is whole."""
        if not self._holder.is_valid():
            lock = self.spool.layout.worker(self.info.name, "lock")
            raise SpoolUnusable(f"{lock} is gone: others take this worker for dead")
        self._slots.settings()
        self._backlog.look_at_the_clock()
        self._follow_peers()
        self._slots.put_back_strays()
        self._heed_stop()
        self._slots.heed_cancels()
        return self._wake.arm()

    def _is_drained(self) -> bool:
        """Whether nothing is due, waiting for a retry or running, and no hook is, here or there."""
        return not self._hooks.busy and self._housekeeper.been_round.is_set() and self._is_idle()

    def _is_idle(self) -> bool:
        """Whether nothing is due, waiting for a retry or running, here or elsewhere."""
        if self._unready.names() or not self._backlog.is_idle(self._slots.left):
            return False
        if any(True for _ in self.spool.claims()):
            return False
        self._intake.look_at_what_is_new()
        idle = self._backlog.is_idle(self._slots.left) and not self._unready.names()
        return idle and not any(True for _ in self.spool.claims())

    # -- hooks -----------------------------------------------------------------------------

    @property
    def _awaits_idle(self) -> bool:
        """Whether there was work, and a hook is to be told of its end."""
        return self._hooks.active.is_set() and self.spool.settings.last_good.on_idle is not None

    def _see_if_idle(self) -> None:
        """Announce it if, after work, the queue has become idle."""
        if not self._awaits_idle or not (self._housekeeper.been_round.is_set() or self._stopping):
            return
        self._hooks.active.clear()  # before the look: what ends during it is seen next time
        try:
            if self._is_idle():
                self._hooks.become_idle()
                return
        except (OSError, QueuectlError) as error:
            log.error("the hook on_idle cannot be run yet: %s", error)
        self._hooks.active.set()

    def _see_hooks_out(self) -> None:
        """Let our hooks end; those that are not to, or may not, are left to recovery."""
        if self._failure is None:
            self._see_if_idle()
        else:
            self._hooks.stop_now()
        if self._hooks.busy:
            log.info("waiting for %d hooks; signal again to leave them to others", self._hooks.left)
        while self._hooks.busy:
            self._step()
            self._heed_stop()

    def _keep_house(self) -> None:
        try:
            self._housekeeper.run()
        except BaseException as error:
            self._fail(error)

    def _released(self) -> None:
        """A slot or a hook finds nothing to do, or has ended: who awaits that looks again."""
        if self.drain or not self._slots.left or self._awaits_idle:
            self._wake.notify()

    def _fail(self, error: BaseException) -> None:
        """Leave because of an error that nothing here can mend."""
        if self._failure is None:
            log.critical("leaving: %s", error)
        self._failure = self._failure or error
        self.stop()

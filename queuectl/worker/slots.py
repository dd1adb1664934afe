"""The slots of a worker as a whole: their threads, their stop, and claims that no slot runs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial

from queuectl.errors import QueuectlError
from queuectl.record import retry
from queuectl.worker import threads
from queuectl.worker.slot import Slot, Workshop

log = logging.getLogger(__name__)


class Slots:
    """All slots of one worker.

    `failed(thread, error)` is called when a slot has ended by an error.
    """

    def __init__(
        self, count: int, shared: Workshop, *, failed: Callable[[str, BaseException], None]
    ) -> None:
        self.left = 0
        """The number of slots whose threads have not ended."""
        self._shared = shared
        shared.aside.most = count
        self._slots = [Slot(number, shared) for number in range(1, count + 1)]
        self._failed = failed
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self, may_start: threading.Event) -> None:
        """Start the slots; each waits a while for `may_start` before its first job.

        Raises OSError if one of them cannot be started; the others run.
        """
        for slot in self._slots:
            slot.open()
            name = f"slot-{slot.number}"
            work = partial(slot.run, may_start)
            with self._lock:
                self.left += 1
            try:
                self._threads.append(threads.start(name, work, partial(self._ended, name)))
            except OSError:
                self.left -= 1
                raise

    def join(self) -> None:
        """Wait until all slots have ended."""
        for thread in self._threads:
            thread.join()

    def leave_unsettled(self) -> None:
        """Leave to recovery the jobs that were put aside."""
        for outcome in self._shared.aside.left():
            log.error("job %s is left to recovery", outcome.claim.id)
            self._shared.tally.unsettled += 1

    def _ended(self, name: str, error: BaseException | None) -> None:
        if error is not None:  # a bug: leave, so that others recover the job
            self._failed(name, error)
        with self._lock:
            self.left -= 1
        self._shared.released()

    def stop(self) -> None:
        """Take no new job."""
        self._shared.stopping = True
        self._shared.intake.backlog.close()

    def stop_now(self) -> None:
        """Take no new job, end the running ones and put them back."""
        self._shared.pauses.given_up.set()
        self.stop()
        self._shared.in_hand.stop("interrupted")

    @property
    def unsettled(self) -> bool:
        """Whether outcomes that were put aside are still to be settled by this worker."""
        return bool(self._shared.aside.left()) and not self.is_leaving_now

    def settle_again(self) -> None:
        """Try once more to settle the jobs that were put aside, if it is time."""
        for outcome in self._shared.aside.due():
            self._slots[0].settle_again(outcome)

    def seconds_to_next(self) -> float | None:
        """Return the seconds until `settle_again` has something to do; None if nothing waits."""
        return self._shared.aside.seconds_to_next()

    @property
    def busy(self) -> bool:
        """Whether a slot has a job."""
        return self._shared.in_hand.any

    @property
    def is_leaving_now(self) -> bool:
        """Whether the running jobs were told to end."""
        return self._shared.pauses.given_up.is_set()

    def check_cancels(self) -> None:
        """End the running jobs that somebody has asked to cancel."""
        self._shared.in_hand.stop("cancelled", self._slots[0].is_cancelled)

    def check_starts(self) -> None:
        """End the starts of commands that take longer than the commands may run."""
        self._shared.in_hand.check_starts()

    def put_back_strays(self) -> None:
        """Put back claims that no slot runs: they could not be put back when they should."""
        if self._shared.stopping:
            return  # they may be meant for recovery
        spool, worker = self._shared.spool, self._shared.worker
        for place in self._shared.in_hand.strays(lambda: spool.reader.claims(worker)):
            with contextlib.suppress(OSError, QueuectlError):
                job, _ = spool.reader.read(place.path)
                policy = spool.settings.last_good.retry_policy
                state = retry.resume(job, place.attempt, worker, policy)
                spool.claims.put_back(place, state)

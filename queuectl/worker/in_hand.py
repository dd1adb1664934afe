"""The jobs that the slots of one worker are claiming or running."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from queuectl.process.waiting import StopReason, StopSwitch
from queuectl.spool.places import Claim, ClaimedPlace


class InHand:
    """What each slot, known by its number, has in hand; shared by all threads of a worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Claim, StopSwitch]] = {}
        self._aside: dict[str, Claim] = {}
        self._claiming = 0

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """Note that a slot is about to claim a job."""
        with self._lock:
            self._claiming += 1
        try:
            yield
        finally:
            with self._lock:
                self._claiming -= 1

    def has(self, path: str) -> bool:
        """Whether a claim of this path is not settled; its file may have been moved by hand."""
        with self._lock:
            is_running = any(claim.path == path for claim, _ in self._running.values())
            return is_running or path in self._aside

    def start(self, slot: int, claim: Claim, switch: StopSwitch) -> None:
        """Note that a slot is about to run a claim; `switch` ends its command."""
        with self._lock:
            self._running[slot] = claim, switch

    def end(self, slot: int) -> None:
        """Note that a slot has no job any more."""
        with self._lock:
            del self._running[slot]

    def put_aside(self, claim: Claim) -> None:
        """Note that a claim is kept, though its slot takes other jobs."""
        with self._lock:
            self._aside[claim.path] = claim

    def done(self, claim: Claim) -> None:
        """Note that a claim that was put aside is not kept any more."""
        with self._lock:
            del self._aside[claim.path]

    @property
    def any(self) -> bool:
        """Whether a slot has a job."""
        return bool(self._running)

    def stop(self, reason: StopReason, which: Callable[[Claim], bool] = lambda _: True) -> None:
        """End the commands of all running jobs, or of those that `which` names."""
        with self._lock:
            for claim, switch in self._running.values():
                if which(claim):
                    switch.stop(reason)

    def check_starts(self) -> None:
        """End the starts of commands that take longer than the commands may run."""
        with self._lock:
            for _, switch in self._running.values():
                switch.check_start()

    def strays(self, claimed: Callable[[], Iterable[ClaimedPlace]]) -> list[ClaimedPlace]:
        """Return those of the worker's claims that no slot has; none while a slot is claiming."""
        with self._lock:
            if self._claiming:
                return []
            running = (claim for claim, _ in self._running.values())
            ours = {(claim.id, claim.attempt) for claim in (*running, *self._aside.values())}
            return [place for place in claimed() if (place.id, place.attempt) not in ours]

"""Outcomes that cannot be written because of one file: put aside, while their slots go on."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from queuectl.record.job import Attempt
from queuectl.spool.places import Claim
from queuectl.worker.in_hand import InHand
from queuectl.worker.postponed import Postponed


class Unsettled(Struct, frozen=True):
    """A claim whose command has ended, its outcome, and the marker of its hook."""

    claim: Claim
    entry: Attempt
    marker: str | None


class PutAside:
    """The outcomes that were put aside, at most `most`: with more, it is not one file's trouble.

    Their claims stay in hand: nobody may put them back.
    """

    def __init__(self, in_hand: InHand, changed: Callable[[], None]) -> None:
        self.most = 1
        self._in_hand = in_hand
        self._outcomes: dict[str, Unsettled] = {}
        self._postponed = Postponed[str](changed)

    def put(self, outcome: Unsettled, why: str) -> bool:
        """Put an outcome aside, to be settled later; False if there is no room."""
        path = outcome.claim.path
        if path not in self._outcomes and len(self._outcomes) >= self.most:
            return False
        self._in_hand.put_aside(outcome.claim)
        self._outcomes[path] = outcome
        self._postponed.put_off(path, why)
        return True

    def due(self) -> list[Unsettled]:
        """Return the outcomes to be tried again now."""
        return [self._outcomes[path] for path in self._postponed.due()]

    def done(self, outcome: Unsettled) -> None:
        """Forget an outcome that was tried again, unless it was put aside again."""
        path = outcome.claim.path
        if path not in self._postponed:
            self._postponed.over(path)
            del self._outcomes[path]
            self._in_hand.done(outcome.claim)

    def left(self) -> list[Unsettled]:
        """Return all outcomes that were put aside."""
        return list(self._outcomes.values())

    def seconds_to_next(self) -> float | None:
        """Return the seconds until an outcome is due; None if there is none."""
        return self._postponed.seconds_to_next()

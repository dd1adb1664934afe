"""What a spool does, as a plain dictionary does it: the model that the real one is held to.

It knows where each job stands, under which name, and what its record says. It decides over
retries by `retry.decide` alone, and over names by the rules of the contract: nothing is ever
overwritten, an id inside a dropped file wins, and whoever finds its id taken gets a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from queuectl.clock import format_timestamp, parse_timestamp
from queuectl.record import retry
from queuectl.record.ids import numbered
from queuectl.record.job import Outcome, State
from queuectl.record.retry import RetryPolicy

LOOKUP_ORDER: tuple[State, ...] = ("processing", "failed", "completed", "dead", "pending")
"""Where an id is looked for first, second, ...: of several files of one id the first is meant."""
FINISHED: tuple[State, ...] = ("completed", "dead")


@dataclass(kw_only=True, eq=False)
class Thing:
    """A file that stands in a state: a job, or (`scrap`) bytes that are none."""

    tag: str
    name: str
    state: State = "pending"
    scrap: bytes | None = None
    whole: bytes = b""
    """What a scrap is when it has been written to its end."""
    id_inside: str | None = None
    priority: int = 0
    max_retries: int | None = None
    run_at: str | None = None
    created_at: str | None = None
    attempts: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    holder: str | None = None
    attempt: int = 0
    origin: State = "pending"
    held: bool = False
    """Claimed to be changed, not to be run, and not changed yet."""
    cancel_asked: bool = False

    @property
    def wanted(self) -> str:
        """The id that it asks for: in `pending/` the one inside wins over the file's name."""
        return (self.id_inside if self.state == "pending" else None) or self.name

    @property
    def outcome_is_written(self) -> bool:
        """Whether a claimed job's record has the outcome of the attempt that it was claimed for."""
        return len(self.outcomes) >= self.attempt


class Model:
    """The whole spool."""

    def __init__(self, now: float) -> None:
        self.things: dict[str, Thing] = {}
        self.now = now
        self.max_retries = 3
        self.backoff_base = 2.0

    @property
    def policy(self) -> RetryPolicy:
        """The settings that decide over retries."""
        return RetryPolicy(self.max_retries, self.backoff_base, 86400, 0)

    # -- look ------------------------------------------------------------------------------

    def those(self, *states: State, scrap: bool | None = False) -> list[Thing]:
        """List what stands in some states, in the order in which it came."""
        return [
            thing
            for thing in self.things.values()
            if thing.state in states and scrap in (None, thing.scrap is not None)
        ]

    def due(self) -> list[Thing]:
        """List the jobs that may be claimed now."""
        return [
            thing
            for thing in self.those("pending", "failed")
            if thing.run_at is None or parse_timestamp(thing.run_at) <= self.now
        ]

    def at(self, state: State, name: str) -> Thing | None:
        """Return what stands in a state under a file name."""
        return next((each for each in self.those(state, scrap=None) if each.name == name), None)

    def find(self, text: str) -> list[Thing]:
        """Return what an id, or the beginning of one, may stand for: the first of each id."""
        exact = [each for each in self._in_order() if each.name == text]
        if exact:
            return exact[:1]
        begun = {each.name: each for each in reversed(self._in_order())}
        return [thing for name, thing in begun.items() if name.startswith(text)]

    def counts(self) -> dict[State, int]:
        """Count what stands in each state."""
        return {state: len(self.those(state, scrap=None)) for state in LOOKUP_ORDER}

    def moves(self) -> Iterator[tuple[Thing, State]]:
        """Yield what a person may move where, overwriting nothing and doubling no id."""
        for thing in self.those("pending", "failed", "completed", "dead"):
            for state in LOOKUP_ORDER[1:]:
                named_so = [
                    each
                    for each in self._others(thing)
                    if each.name == thing.name
                    and (each.state == state or "pending" not in (state, each.state))
                ]
                if state != thing.state and not named_so:
                    yield thing, state

    def _in_order(self) -> list[Thing]:
        return [each for state in LOOKUP_ORDER for each in self.those(state, scrap=None)]

    def _others(self, thing: Thing) -> list[Thing]:
        return [each for each in self.things.values() if each is not thing]

    # -- names -----------------------------------------------------------------------------

    def free_id(self, thing: Thing, wanted: str, *, besides: State | None = None) -> str:
        """Return the first of ID, ID.2, ... under which nothing else stands, in any state.

        What stands in the state `besides` does not own its id.
        """
        taken = {each.name for each in self._others(thing) if each.state != besides}
        return _first_free(wanted, taken)

    def claimed_id(self, thing: Thing, wanted: str) -> str:
        """Return the id under which a file is claimed.

        Under its own name it yields to what still stands in `pending/` only if it has run its
        course; another name it gets only if nothing at all stands under that name.
        """
        besides: State | None = None if thing.state in FINISHED else "pending"
        own = self.free_id(thing, wanted, besides=besides)
        return own if own == thing.name else self._first_but(thing, wanted, besides)

    def _first_but(self, thing: Thing, wanted: str, besides: State | None) -> str:
        everyone = {each.name for each in self._others(thing)}
        owners = {each.name for each in self._others(thing) if each.state != besides}
        number, name = 1, wanted
        while name in (owners if name == thing.name else everyone):
            number += 1
            name = numbered(wanted, number)
        return name

    def free_name(self, thing: Thing, state: State, wanted: str) -> str:
        """Return the first of ID, ID.2, ... under which nothing stands in a state."""
        return _first_free(
            wanted, {each.name for each in self._others(thing) if each.state == state}
        )

    # -- change ----------------------------------------------------------------------------

    def add(self, thing: Thing) -> None:
        """Let a file appear."""
        self.things[thing.tag] = thing

    def claim(self, thing: Thing, holder: str, wanted: str, *, hold: bool = False) -> None:
        """Give a waiting job to a holder, for its next attempt, or only to be changed."""
        thing.name = self.claimed_id(thing, wanted)
        thing.origin, thing.state, thing.holder = thing.state, "processing", holder
        thing.attempt = len(thing.outcomes) + 1
        if hold:  # the number of an attempt that is over, so that recovery enters none
            thing.attempt = 0 if thing.origin == "pending" else len(thing.outcomes)
        thing.held, thing.cancel_asked = hold, False

    def conclude(self, thing: Thing, outcome: Outcome) -> State:
        """Enter an outcome into the record; return the state that follows."""
        thing.outcomes.append(outcome)
        waited_for_a_retry = thing.attempts > 0
        thing.attempts += outcome not in ("interrupted", "cancelled")
        thing.id_inside = thing.name
        thing.held = False
        decision = self.decide(thing)
        if isinstance(decision, retry.RetryAfter):
            thing.run_at = format_timestamp(self.now + decision.seconds)
        elif waited_for_a_retry:
            thing.run_at = None
        return retry.state_after(decision)

    def decide(self, thing: Thing) -> retry.Decision:
        """What follows the last outcome, as the settings are now."""
        if not thing.outcomes:
            return retry.Requeue()
        return retry.decide(thing.outcomes[-1], thing.attempts, thing.max_retries, self.policy)

    def pass_on(self, thing: Thing, state: State) -> None:
        """Move a claimed job on to a state."""
        thing.name = self.free_name(thing, state, thing.name)
        thing.state, thing.holder = state, None

    def reset(self, thing: Thing) -> None:
        """Give a job that is retried by hand all its runs again."""
        thing.held = False
        thing.attempts, thing.id_inside = 0, thing.name
        if thing.origin == "failed":
            thing.run_at = None

    def recovered_to(self, thing: Thing) -> set[State]:
        """Recover the claim of a holder that has died; return the states it may then be in."""
        if not thing.outcome_is_written:
            return {self.conclude(thing, "cancelled" if thing.cancel_asked else "lost")}
        then = retry.state_after(self.decide(thing))
        if thing.held and thing.origin == "pending":
            return {"pending"}
        return {thing.origin, then} if thing.held else {then}

    def remove(self, thing: Thing) -> None:
        """Let a file go for good."""
        del self.things[thing.tag]


def _first_free(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = numbered(wanted, number)
    return name

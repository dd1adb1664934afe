"""Steps on a modelled spool while commands run: what is moved away, and requests that come late."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.harness.model import Thing
from faults.harness.modelled import UNCLAIMED, ModelledSpool, one_of, outcomes, picks, step
from hypothesis import strategies as st
from hypothesis.stateful import precondition

from queuectl.disk.durable import Disk
from queuectl.disk.locks import make_locked
from queuectl.errors import ClaimLost, StillRuns
from queuectl.record.job import State
from queuectl.record.running import Run, content
from queuectl.spool import cancels
from queuectl.spool.places import Claim, ClaimedPlace

targets = st.sampled_from(list(UNCLAIMED))


class Command(NamedTuple):
    """A command that runs: it holds the lock of its run file."""

    job_id: str
    worker: str
    run_file: str
    lock: int

    def end(self) -> None:
        """Let it end, and its slot clean up."""
        os.close(self.lock)
        Path(self.run_file).unlink(missing_ok=True)


class RunningSpool(ModelledSpool):
    """A modelled spool with commands; `strays` are those whose jobs were moved away, by tag."""

    def __init__(self) -> None:
        super().__init__()
        self.strays: dict[str, Command] = {}

    def start(self, claim: Claim) -> Command:
        """Let the command of a claim run, on a host that recovery cannot look into."""
        path = self.spool.layout.claim(claim.worker, claim.id, claim.attempt, "run")
        lock = make_locked(path, self.spool.layout.staged(), 0o600)
        about = Run(
            attempt=claim.attempt, slot=1, inode=claim.inode, host="elsewhere", boot_id="", pid=1,
            started_at="2026-01-01T00:00:00Z",
        )  # fmt: skip
        os.write(lock, content(about))
        return Command(claim.id, claim.worker, path, lock)

    def moves_away(self, thing: Thing, claim: Claim, to: State, as_claim: bool) -> str | None:
        """Let somebody move a claimed file, under its id or its claim's name, if that is free."""
        name = f"{claim.id}.{claim.attempt}" if as_claim else claim.id
        if name in {each.name for each in self.model.things.values() if each is not thing}:
            return None
        thing.state, thing.name, thing.holder = to, name, None
        return str(self.path(thing))

    @precondition(lambda self: self.claims)
    @step(pick=picks, to=targets, as_claim=st.booleans())
    def move_what_runs(self, pick: int, to: State, as_claim: bool) -> None:
        tag = one_of(list(self.claims), pick)
        thing, claim = self.model.things[tag], self.claims[tag]
        if (target := self.moves_away(thing, claim, to, as_claim)) is None:
            return
        self.strays[tag] = self.start(claim)
        del self.claims[tag]
        os.rename(claim.path, target)

    @precondition(lambda self: self.strays)
    @step(pick=picks)
    def the_command_of_what_was_moved_ends(self, pick: int) -> None:
        self.strays.pop(one_of(list(self.strays), pick)).end()

    @precondition(lambda self: self.claims)
    @step(pick=picks, to=targets, as_claim=st.booleans(), outcome=outcomes)
    def move_what_is_being_settled(
        self, pick: int, to: State, as_claim: bool, outcome: Any
    ) -> None:
        """While its new record is forced to disk: its outcome is not recorded."""
        tag = one_of(list(self.claims), pick)
        thing, claim = self.model.things[tag], self.claims[tag]
        if (target := self.moves_away(thing, claim, to, as_claim)) is None:
            return
        record = self.record(claim, outcome)

        def write_then_move(path: str, data: bytes) -> None:
            Disk.write(self.spool.disk, path, data)
            os.rename(claim.path, target)

        self.end_claim(list(self.claims).index(tag))
        self.spool.disk.write = write_then_move  # type: ignore[method-assign] # for this settle
        try:
            with pytest.raises(ClaimLost):
                self.spool.claims.settle(claim, *record)
        finally:
            del self.spool.disk.write

    @precondition(lambda self: self.claims)
    @step(pick=picks)
    def ask_too_late(self, pick: int) -> None:
        """To cancel a job that has just ended: the request stays, and a later job may meet it."""
        thing, claim = self.end_claim(pick)
        place = ClaimedPlace("processing", claim.id, claim.path, claim.worker, claim.attempt)
        assert cancels.request(self.spool, place)
        self.model.pass_on(thing, self.model.conclude(thing, "ok"))
        self.spool.disk.commit(*self.spool.claims.settle(claim, *self.record(claim, "ok")).owed)
        assert not cancels.request(self.spool, place)

    def refused(self, thing: Thing, act: Any, *given: Any) -> bool:
        """Whether something is refused because a command of the job still runs, or of its id.

        Then the job is put back under the id of that command's job.
        """
        if thing.scrap is not None:
            return False
        claimed = self.model.claimed_id(thing, thing.wanted)
        homes = {
            command.job_id
            for tag, command in self.strays.items()
            if tag == thing.tag or command.job_id == claimed
        }
        if not homes:
            return False
        with pytest.raises(StillRuns):
            act(*given)
        names = {self.model.free_name(thing, thing.state, home) for home in homes}
        ((_, thing.name, _),) = self.stands()[thing.tag]
        assert thing.name in names
        return True

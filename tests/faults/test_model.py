"""The spool against a model of it: whatever is done, in whatever order, both say the same.

Holders die, clocks jump, people drop half a file and move others about; after each step every
job stands exactly once, where and as the model says, and every byte of it is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from faults.harness.model import FINISHED, Thing
from faults.harness.modelled import one_of, outcomes, picks, ran, step
from faults.harness.modelled_runs import RunningSpool
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, run_state_machine_as_test

from queuectl.clock import format_timestamp
from queuectl.disk import renames
from queuectl.disk.durable import Disk
from queuectl.errors import AmbiguousId, IdTaken, InvalidJob, NoSuchJob, WrongState
from queuectl.record import retry
from queuectl.record.job import FIELDS, Job, State, decode
from queuectl.spool import cancels, integrity, recovery
from queuectl.spool.claims import Claims
from queuectl.spool.holder import Holder
from queuectl.spool.places import ClaimedPlace, Ready, Unfit
from queuectl.spool.recovery import recover
from queuectl.spool.reject import reject

pytestmark = pytest.mark.timeout(600)

EXAMPLES = os.environ.get("QUEUECTL_MODEL_EXAMPLES")
"""How many runs of 50 steps; if it is set they are other ones each time."""
PROFILE = settings(
    max_examples=int(EXAMPLES or 300),
    stateful_step_count=50,
    derandomize=EXAMPLES is None,  # the same steps each time: CI cannot flake
    # What fails by default is not made smaller, which may take minutes; set the variable for that.
    phases=[Phase.generate] if EXAMPLES is None else [Phase.generate, Phase.shrink],
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
NEVER, ALWAYS = 1e9, -1e9
"""Ages in seconds that no file has, and that every file has, however the clock jumps."""
BAD_DAMAGE = {"two places", "unreadable", "no reason", "stray", "mode"}

ids = st.sampled_from(["a", "ab", "a.2"])  # few, so that they meet
maybe_ids = st.none() | ids
limits = st.none() | st.integers(0, 3)
hours = st.none() | st.integers(-6, 6)
holders = st.integers(0, 2)
mtimes = st.sampled_from([1.7e9, 1.7e9, None])  # `cp -p` and tar give one to many files


class SpoolMachine(RunningSpool):
    """All that is done to a spool, in any order."""

    # -- enqueue ---------------------------------------------------------------------------

    @step(job_id=maybe_ids, priority=st.integers(-1, 1), limit=limits, later=hours)
    def enqueue(self, job_id: str | None, priority: int, limit: int | None, later: Any) -> None:
        thing = self.new(job_id, priority=priority, max_retries=limit, run_at=self.in_hours(later))
        job = decode(self.text(thing))
        if job_id in {each.name for each in self.model.things.values()}:
            with pytest.raises(IdTaken):
                self.queue.submit(job)
            return
        self.appears(thing, self.queue.submit(job))

    @step(given=st.lists(maybe_ids, min_size=1, max_size=4), limit=limits)
    def enqueue_a_batch(self, given: list[str | None], limit: int | None) -> None:
        things = [self.new(job_id, max_retries=limit) for job_id in given]
        jobs = [decode(self.text(thing)) for thing in things]
        chosen = [job_id for job_id in given if job_id]
        taken = {each.name for each in self.model.things.values()}
        if len({*chosen}) < len(chosen) or taken & {*chosen}:
            with pytest.raises(IdTaken):
                self.queue.submit_many(jobs)
            return
        for thing, job_id in zip(things, self.queue.submit_many(jobs), strict=True):
            self.appears(thing, job_id)

    @step(name=ids, inside=maybe_ids, limit=limits, later=hours, half=st.booleans(), old=mtimes)
    def drop_a_file(
        self, name: str, inside: str | None, limit: Any, later: Any, half: bool, old: Any
    ) -> None:
        if self.model.at("pending", name):
            return  # whoever drops must not overwrite; queuectl cannot help it
        thing = self.new(inside, max_retries=limit, run_at=self.in_hours(later))
        thing.name, thing.whole = name, self.text(thing, state="done")
        if half:
            thing.scrap = thing.whole[: len(thing.whole) // 2]
        self._write_by_hand(thing, old)
        self.model.add(thing)

    @precondition(lambda self: self.model.those("pending", scrap=True))
    @step(pick=picks)
    def finish_a_half_file(self, pick: int) -> None:
        thing = one_of(self.model.those("pending", scrap=True), pick)
        thing.scrap = None
        self._write_by_hand(thing)

    @precondition(lambda self: self.model.those("processing"))
    @step(pick=picks)
    def drop_another_of_a_claimed_name(self, pick: int) -> None:
        claimed = one_of(self.model.those("processing"), pick)
        self.drop_a_file(claimed.name, None, None, None, False, 1.7e9)

    def _write_by_hand(self, thing: Thing, mtime: float | None = None) -> None:
        path = self.path(thing)
        path.write_bytes(thing.scrap or thing.whole)
        path.chmod(0o600)
        if mtime:
            os.utime(path, (mtime, mtime))
        thing.created_at = format_timestamp(path.stat().st_mtime)

    @precondition(lambda self: self.model.those("pending", scrap=True))
    @step(pick=picks)
    def reject_a_half_file(self, pick: int) -> None:
        thing = one_of(self.model.those("pending", scrap=True), pick)
        path = self.path(thing)
        sight = self.spool.reader.look("pending", path.name)
        assert isinstance(sight, Unfit)
        thing.name, thing.state = self.model.free_id(thing, thing.name), "dead"
        kept = reject(self.spool, str(path), sight.reason)
        assert kept == thing.name

    # -- move by hand ----------------------------------------------------------------------

    @precondition(lambda self: any(self.model.moves()))
    @step(pick=picks)
    def move_by_hand(self, pick: int) -> None:
        thing, state = one_of(list(self.model.moves()), pick)
        source = self.path(thing)
        thing.state = state
        source.rename(self.path(thing))

    # -- claim and settle ------------------------------------------------------------------

    @precondition(lambda self: self.model.due())
    @step(pick=picks)
    def look(self, pick: int) -> None:
        """See a job, and claim it later, when all may have changed."""
        thing = one_of(self.model.due(), pick)
        sight = self.spool.reader.look(thing.state, f"{thing.name}.json")
        assert isinstance(sight, Ready)
        assert sight.id == thing.wanted
        self.sights.append((thing.state, thing.name, sight))

    @precondition(lambda self: self.model.due())
    @step(pick=picks, number=holders)
    def claim(self, pick: int, number: int) -> None:
        self.look(pick)
        self._claim(*self.sights.pop(), self.holders[number])

    @precondition(lambda self: self.sights)
    @step(pick=picks, number=holders)
    def claim_what_was_seen_earlier(self, pick: int, number: int) -> None:
        sight = self.sights.pop(pick % len(self.sights))
        self._claim(*sight, self.holders[number])

    def _claim(self, state: State, name: str, sight: Ready, holder: Holder) -> None:
        thing = self.model.at(state, name)
        path = f"{name}.json"
        if thing is None:
            assert self.spool.claims.take(holder.name, state, path, sight) is None
            return
        if thing.scrap is not None:
            with pytest.raises(InvalidJob):
                self.spool.claims.take(holder.name, state, path, sight)
            self._put_back(thing, sight)
            return
        if (sight.id, len(sight.job.history)) == (thing.wanted, len(thing.outcomes)) and (
            self.refused(thing, self.spool.claims.take, holder.name, state, path, sight)
        ):
            return
        claim = self.spool.claims.take(holder.name, state, path, sight)
        if (sight.id, len(sight.job.history)) != (thing.wanted, len(thing.outcomes)):
            assert claim is None, "what was seen is not what stands there now"
            self._put_back(thing, sight)
            return
        assert claim is not None
        self.model.claim(thing, holder.name, sight.id)
        assert (claim.id, claim.attempt) == (thing.name, thing.attempt)
        assert claim.job.attempts == thing.attempts
        assert not cancels.is_requested(self.spool.layout, claim)
        self.claims[thing.tag] = claim

    def _put_back(self, thing: Thing, sight: Ready) -> None:
        claimed = self.model.claimed_id(thing, sight.id)
        thing.name = self.model.free_name(thing, thing.state, claimed)

    @precondition(lambda self: self.claims)
    @step(pick=picks, outcome=outcomes)
    def settle(self, pick: int, outcome: Any) -> None:
        thing, claim = self.end_claim(pick)
        target = self.model.conclude(thing, outcome)
        self.model.pass_on(thing, target)
        moved = self.spool.claims.settle(claim, *self.record(claim, outcome))
        self.spool.disk.commit(*moved.owed)
        assert moved.id == thing.name

    @precondition(lambda self: self.model.due())
    @step(pick=picks, number=holders, outcome=outcomes)
    def claim_and_settle(self, pick: int, number: int, outcome: Any) -> None:
        """As a worker does; twice in the list of rules, so that jobs run their course."""
        self.claim(pick, number)
        if self.claims:
            self.settle(len(self.claims) - 1, outcome)

    @precondition(lambda self: self.claims)
    @step(pick=picks)
    def release(self, pick: int) -> None:
        thing, claim = self.end_claim(pick)
        self.spool.claims.release(claim)
        self.model.pass_on(thing, thing.origin)

    @precondition(lambda self: self.claims)
    @step(pick=picks)
    def put_back_what_could_not_be_started(self, pick: int) -> None:
        """As a worker does with a claim that it could neither start nor put back at first."""
        thing, claim = self.end_claim(pick)
        job, _ = self.spool.reader.read(claim.path)
        state = retry.resume(job, claim.attempt, claim.worker, self.model.policy)
        place = ClaimedPlace("processing", claim.id, claim.path, claim.worker, claim.attempt)
        self.spool.claims.put_back(place, state)
        assert state in ("pending", "failed")
        self.model.pass_on(thing, "failed" if thing.attempts else "pending")

    # -- death and recovery ----------------------------------------------------------------

    @step(number=holders, outcome=st.none() | outcomes, leaves=st.booleans())
    def a_holder_dies(self, number: int, outcome: Any, leaves: bool) -> None:
        """Without settling what it has, or with an outcome written for one of its claims."""
        holder = self.holders[number]
        its = [tag for tag, claim in self.claims.items() if claim.worker == holder.name]
        if its and outcome:
            self.write_outcome(self.model.things[its[0]], self.claims[its[0]], outcome)
        for tag in its:
            del self.claims[tag]
        if leaves:
            holder.leave()  # what it leaves undone is as if it had died
            self.dead.add(holder.name)
        else:
            self.dies(holder)
        self.holders[number] = Holder(self.spool)

    @precondition(lambda self: self.model.those("pending", "failed", "dead"))
    @step(pick=picks, cancels=st.booleans())
    def a_command_dies_that_holds_a_job(self, pick: int, cancels: bool) -> None:
        thing = one_of(self.model.those("pending", "failed", "dead"), pick)
        holder = Holder(self.spool)
        (place,) = [
            p for p in self.spool.reader.places(thing.name) if p.path == str(self.path(thing))
        ]
        if self.refused(thing, self.spool.claims.hold, holder.name, place):
            holder.leave()
            return
        claim = self.spool.claims.hold(holder.name, place)
        assert claim is not None
        self.model.claim(thing, holder.name, thing.wanted, hold=True)
        if cancels and thing.origin != "dead":
            self.write_outcome(thing, claim, "cancelled")
        self.dies(holder)

    @step(repairs=st.booleans())
    def recover(self, repairs: bool) -> None:
        lost = [each for each in self.model.those("processing") if each.holder in self.dead]
        assert self.queue.settings.retry_policy == self.model.policy
        if repairs:
            integrity.check(self.spool, repair=True)
        else:
            moved = recover(self.spool, grace=0, draw=0)
            assert len(moved) == len(lost)
        # One whose command still runs, though its job was moved away, is left for the next time.
        self.dead &= {command.worker for command in self.strays.values()}
        stands = self.stands()
        for thing in lost:
            allowed = self.model.recovered_to(thing)
            assert len(stands[thing.tag]) == 1, f"{thing} stands {len(stands[thing.tag])} times"
            state, name, _ = stands[thing.tag][0]
            assert state in allowed, f"{thing} is {state}, not one of {allowed}"
            assert name == thing.name or name.startswith(f"{thing.name}.")
            thing.state, thing.name, thing.holder = state, name, None

    # -- the commands ----------------------------------------------------------------------

    @precondition(lambda self: self.model.things)
    @step(pick=picks)
    def cancel(self, pick: int) -> None:
        name = one_of(list(self.model.things.values()), pick).name
        (thing,) = self.model.find(name)
        if thing.state in FINISHED:
            with pytest.raises(WrongState):
                self.queue.cancel(name)
        elif thing.scrap is not None:
            with pytest.raises(InvalidJob):
                self.queue.cancel(name)
        elif thing.state == "processing" and thing.outcome_is_written:
            return  # nothing runs that could be ended: `cancel` waits for it to move on
        elif thing.state == "processing":
            assert self.queue.cancel(name) == "processing"
            thing.cancel_asked = True
        elif not self.refused(thing, self.queue.cancel, name):
            assert self.queue.cancel(name) == "dead"
            self.model.claim(thing, "cancel", thing.wanted, hold=True)
            self.model.pass_on(thing, self.model.conclude(thing, "cancelled"))

    @precondition(lambda self: self.model.things)
    @step(pick=picks)
    def retry(self, pick: int) -> None:
        name = one_of(list(self.model.things.values()), pick).name
        (thing,) = self.model.find(name)
        if thing.state not in ("dead", "failed"):
            with pytest.raises(WrongState):
                self.queue.retry(name)
        elif thing.scrap is not None:
            with pytest.raises(InvalidJob):
                self.queue.retry(name)
        elif not self.refused(thing, self.queue.retry, name):
            kept = self.queue.retry(name)
            self.model.claim(thing, "retry", thing.name, hold=True)
            self.model.reset(thing)
            self.model.pass_on(thing, "pending")
            assert kept == thing.name

    @step(state=st.sampled_from(FINISHED), age=st.sampled_from([NEVER, NEVER, ALWAYS]))
    def purge(self, state: State, age: float) -> None:
        old = self.model.those(state, scrap=None) if age == ALWAYS else []
        assert self.queue.purge(state, age) == len(old)
        for thing in old:
            self.model.remove(thing)
            if thing.tag in self.strays:
                self.strays.pop(thing.tag).end()

    @step(key=st.sampled_from(["max_retries", "backoff_base"]), value=st.integers(0, 3))
    def change_a_setting(self, key: str, value: int) -> None:
        setattr(self.model, key, value)
        self.queue.set_setting(key, str(value))

    @step(by=st.integers(-5, 5))
    def the_clock_jumps(self, by: int) -> None:
        self.model.now += by * 3600.0 + 1

    @precondition(lambda self: self.model.things)
    @step(pick=picks, letters=st.integers(1, 4))
    def ask_for_a_job(self, pick: int, letters: int) -> None:
        text = one_of(list(self.model.things.values()), pick).name[:letters]
        meant = self.model.find(text)
        if len(meant) > 1:
            with pytest.raises(AmbiguousId):
                self.queue.get(text)
            return
        status = self.queue.get(text)
        assert (status.id, status.state) == (meant[0].name, meant[0].state)
        assert (status.job is None) == (meant[0].scrap is not None)

    @step()
    def list_all(self) -> None:
        listed = sorted((each.state, each.id) for each in self.queue.list())
        assert listed == sorted((each.state, each.name) for each in self.model.things.values())
        assert self.queue.status().jobs == self.model.counts()
        with pytest.raises(NoSuchJob):
            self.queue.get("nobody")

    @step()
    def look_for_damage(self) -> None:
        for finding in integrity.check(self.spool, repair=False):
            assert finding.damage not in BAD_DAMAGE, finding
            if finding.damage.startswith("leftover"):
                assert any(name in finding.path for name in self.dead), finding


def test_whatever_is_done_in_whatever_order_the_spool_is_as_the_model_says(
    figures: Callable[..., None],
) -> None:
    ran.clear()

    run_state_machine_as_test(SpoolMachine, settings=PROFILE)

    figures("model of the spool", steps=ran.total(), rules=len(ran))
    assert set(ran) >= {"settle", "recover", "move_by_hand", "claim_what_was_seen_earlier"}


def test_two_files_of_one_name_and_one_mtime_are_two_jobs() -> None:
    """As `cp -p job.json spool/pending/` makes them; the first is claimed when the second comes."""
    machine = SpoolMachine()
    try:
        machine.drop_a_file("a", None, None, None, False, 1.7e9)
        machine.claim(pick=0, number=0)
        machine.drop_a_file("a", None, None, None, False, 1.7e9)
        machine.a_holder_dies(number=0, outcome=None, leaves=False)
        machine.recover(repairs=False)
        machine.every_job_stands_once_where_and_as_the_model_says()
    finally:
        machine.teardown()


def _only_known_fields(job: Job) -> bytes:
    return msgspec.json.encode({key: job.raw[key] for key in [*FIELDS, "tag"] if key in job.raw})


@pytest.mark.parametrize(
    ("where", "name", "mistake"),
    [
        pytest.param(Disk, "renew", Disk.overwrite, id="a settle makes its claim again"),
        pytest.param(Claims, "_run_of", lambda *_: None, id="a claim of what runs"),
        pytest.param(renames, "exclusive", os.rename, id="a rename that overwrites"),
        pytest.param(retry, "counts", lambda _: True, id="every outcome counts"),
        pytest.param(Job, "encode", _only_known_fields, id="unknown fields are dropped"),
        pytest.param(recovery, "_is_superseded", lambda *_: True, id="recovery drops a claim"),
    ],
)
def test_a_mistake_is_caught(
    where: Any, name: str, mistake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, mistake)
    quick = settings(PROFILE, max_examples=200, phases=[Phase.generate], derandomize=True)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(SpoolMachine, settings=quick)

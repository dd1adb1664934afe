"""A spool and its model, side by side, and what must be the same in both."""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from faults.harness.invariants import PAYLOAD, kept_payload
from faults.harness.model import Model, Thing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from queuectl import Queue, clock
from queuectl.clock import format_timestamp
from queuectl.record import retry
from queuectl.record.job import Attempt, Job, Outcome, State, decode
from queuectl.spool import layout
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim

UNCLAIMED: dict[State, str] = {
    "pending": "pending",
    "failed": "failed",
    "completed": "done",
    "dead": "dead",
}
_TAG = re.compile(rb'"tag":\s*"(\w+)"')
_T = TypeVar("_T")

picks = st.integers(0, 10_000)
outcomes = st.sampled_from(["ok", "failed", "failed", "timeout", "cancelled", "interrupted"])

ran: Counter[str] = Counter()
"""How often each rule was run."""


def step(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule that is counted."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **values: Any) -> None:
            ran[function.__name__] += 1
            function(*args, **values)

        made: Callable[..., None] = rule(**strategies)(run)  # type: ignore[no-untyped-call]  # Hypothesis has no type for a rule of many strategies
        return made

    return decorate


def one_of(those: Sequence[_T], pick: int) -> _T:
    """Return the one that a drawn number means."""
    return those[pick % len(those)]


class ModelledSpool(RuleBasedStateMachine):
    """A spool on a clock that jumps, its model, and three holders of claims.

    `claims` are those that may still be settled, `sights` what was seen of jobs and may since
    have changed, `dead` the holders whose locks are free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(now=1_800_000_000.0)
        self._real_now, clock.now = clock.now, lambda: self.model.now
        self.directory = Path(tempfile.mkdtemp(prefix="queuectl-model-", dir="/dev/shm"))
        self.root = self.directory / "spool"
        self.queue = Queue(self.root)
        self.spool = self.queue.spool
        self.holders = [Holder(self.spool) for _ in range(3)]
        self.claims: dict[str, Claim] = {}
        self.sights: list[tuple[State, str, Any]] = []
        self.dead: set[str] = set()
        self._made = 0

    def teardown(self) -> None:
        """Put the clock right, and leave nothing."""
        clock.now = self._real_now
        for holder in self.holders:
            os.close(holder._lock)
        shutil.rmtree(self.directory)

    # -- what always holds -----------------------------------------------------------------

    @invariant()
    def every_job_stands_once_where_and_as_the_model_says(self) -> None:
        stands = self.stands()
        numbers = {tag: len(places) for tag, places in stands.items()}
        assert numbers == dict.fromkeys(self.model.things, 1)
        for tag, ((state, name, data),) in stands.items():
            thing = self.model.things[tag]
            assert (state, name) == (thing.state, thing.name), thing
            if thing.scrap is not None:
                assert data == thing.scrap
            else:
                _assert_same(decode(data), thing)

    @invariant()
    def nothing_is_left_lying_about(self) -> None:
        assert os.listdir(self.root / "tmp") == []

    def stands(self) -> dict[str, list[tuple[State, str, bytes]]]:
        """Read every file of the spool, by the tag in it: its state, name and bytes."""
        found: dict[str, list[tuple[State, str, bytes]]] = defaultdict(list)
        for state, directory in UNCLAIMED.items():
            for path in (self.root / directory).glob("*.json"):
                data = path.read_bytes()
                found[_tag_in(data)].append((state, path.stem, data))
        for path in (self.root / "processing").glob("*/*.json"):
            data = path.read_bytes()
            job_id, attempt, _ = layout.parse_claim(path.name) or ("", 0, "")
            thing = self.model.things[_tag_in(data)]
            assert (path.parent.name, attempt) == (thing.holder, thing.attempt), thing
            found[thing.tag].append(("processing", job_id, data))
        return found

    # -- what the rules are made of --------------------------------------------------------

    def new(self, id_inside: str | None, **fields: Any) -> Thing:
        """Make a job that stands nowhere yet."""
        self._made += 1
        return Thing(tag=f"t{self._made}", name="", id_inside=id_inside, **fields)

    def text(self, thing: Thing, **more: str) -> bytes:
        """Write a job as a submitter would."""
        fields = {
            "tag": thing.tag,
            **more,
            "id": thing.id_inside,
            "command": "true",
            "priority": thing.priority or None,
            "max_retries": thing.max_retries,
            "run_at": thing.run_at,
        }
        given = [f'"{key}":{_json(value)}' for key, value in fields.items() if value is not None]
        return f'{{{",".join(given)},"payload":{PAYLOAD.decode()}}}'.encode()

    def appears(self, thing: Thing, job_id: str) -> None:
        """Let the model know of a job that was enqueued."""
        assert thing.id_inside in (None, job_id)
        thing.name = thing.id_inside = job_id
        self.model.add(thing)

    def path(self, thing: Thing) -> Path:
        """Where a file that nobody has claimed stands."""
        return self.root / UNCLAIMED[thing.state] / f"{thing.name}.json"

    def in_hours(self, hours: int | None) -> str | None:
        """A time so many hours from now, as it is written."""
        return None if hours is None else format_timestamp(self.model.now + hours * 3600)

    def record(self, claim: Claim, outcome: Outcome) -> tuple[Job, State]:
        """Make the record that a worker would write, and say where the job goes."""
        entry = Attempt(attempt=claim.job.next_attempt, outcome=outcome, worker=claim.worker)
        policy = self.queue.settings.retry_policy
        return retry.next_record(claim.job, entry, policy, now=clock.now(), draw=0.0)

    def write_outcome(self, thing: Thing, claim: Claim, outcome: Outcome) -> None:
        """Do the first half of a settle: the outcome is on disk, the job has not moved."""
        record, _ = self.record(claim, outcome)
        staged = self.spool.layout.staged()
        self.spool.disk.overwrite(claim.path, record.encode(), staged=staged)
        self.model.conclude(thing, outcome)

    def end_claim(self, pick: int) -> tuple[Thing, Claim]:
        """Take out a claim that is about to end; what was asked of it goes with it."""
        tag = one_of(list(self.claims), pick)
        claim = self.claims.pop(tag)
        Path(claim.path).with_suffix(".cancel").unlink(missing_ok=True)
        return self.model.things[tag], claim

    def dies(self, holder: Holder) -> None:
        """Let a holder's process end."""
        os.close(holder._lock)
        self.dead.add(holder.name)


def _assert_same(job: Job, thing: Thing) -> None:
    if job.created_at:
        thing.created_at = thing.created_at or job.created_at
    says = {
        "id": job.id,
        "priority": job.priority,
        "max_retries": job.max_retries,
        "run_at": job.run_at,
        "created_at": job.created_at or thing.created_at,
        "attempts": job.attempts,
        "outcomes": [entry.outcome for entry in job.history],
        "numbers": [entry.attempt for entry in job.history],
    }
    must = {name: getattr(thing, name, None) for name in says}
    must |= {"id": thing.id_inside, "numbers": [*range(1, len(thing.outcomes) + 1)]}
    differs = {name: (says[name], must[name]) for name in says if says[name] != must[name]}
    assert not differs, f"{thing.tag}, record against model: {differs}"
    assert "payload" in job.raw
    assert kept_payload(job)


def _tag_in(data: bytes) -> str:
    match = _TAG.search(data)
    assert match, data
    return match[1].decode()


def _json(value: object) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'

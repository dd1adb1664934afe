"""The operations that are broken, each run by the real code on a spool with bystanders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import filelock
import tomlkit
from faults.harness.invariants import PAYLOAD, recover_until

from queuectl import Queue, clock
from queuectl.disk.durable import discard
from queuectl.process.waiting import StopSwitch
from queuectl.record import retry
from queuectl.record.job import Attempt, Job, Outcome, decode
from queuectl.record.running import WorkerInfo
from queuectl.record.settings import Settings
from queuectl.spool import by_hand, hook_markers
from queuectl.spool.holder import Holder, reserve
from queuectl.spool.places import Claim, Ready, Seen
from queuectl.spool.publish import publish
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool, open_spool
from queuectl.view.observer import NO_OBSERVER
from queuectl.worker import attempt
from queuectl.worker.hooks import Hooks
from queuectl.worker.intake import Intake
from queuectl.worker.slot import Slot, Workshop

Ack = Callable[[str], object]
BY_HAND = "by-hand"
"""A file that an operation moves itself, as a person would."""
HALF = b'{"command": "echo half'

BYSTANDERS = {"waits": "pending", "done": "completed", "gone": "dead", "fails": "failed"}
"""The jobs that stand in every spool before the operation, by tag, with their states."""


class Operation(NamedTuple):
    """What is done, and where it may leave each job it is about.

    `cut` has the states allowed when it was broken off, `acked` when it was acknowledged.
    """

    name: str
    act: Callable[[Path, Ack], object]
    cut: Mapping[str, set[str]]
    acked: Mapping[str, set[str]]
    prepare: Callable[[Path], None] = lambda _: None
    not_jobs: Mapping[str, bytes] = {}
    more: Callable[[Path, bool], list[str]] = lambda *_: []
    """What else must hold; is told whether the operation was acknowledged."""


def job(tag: str, job_id: str | None = None, command: str = "true") -> Job:
    """Make a job with a mark and a payload."""
    named = f'"id":"{job_id}",' if job_id else ""
    text = f'{{{named}"command":"{command}","tag":"{tag}","payload":{PAYLOAD.decode()}}}'
    return decode(text.encode())


def make_spool(root: Path) -> None:
    """Make a spool in which a job stands in each state."""
    queue = Queue(root)
    for tag, state in BYSTANDERS.items():
        queue.submit(job(tag, tag))
        outcomes: dict[str, list[Outcome]] = {
            "pending": [], "completed": ["ok"], "dead": ["failed"] * 4, "failed": ["failed"],
        }  # fmt: skip
        for outcome in outcomes[state]:
            with Holder(queue.spool) as holder:
                settle(queue.spool, claim(queue.spool, holder.name, tag), outcome)


IMPORTED_LATE = (by_hand, filelock, tomlkit)
"""Modules that a command imports when it needs them: their import is no part of an operation."""


def claim(spool: Spool, holder: str, job_id: str, owed: Sequence[str] = ()) -> Claim:
    """Claim a waiting job, and commit what is owed with it."""
    place = spool.reader.find(job_id)
    assert place.state in ("pending", "failed")
    sight = spool.reader.look(place.state, f"{job_id}.json")
    if not isinstance(sight, Ready):
        raise OSError(f"{job_id} cannot be read now")
    taken = spool.claims.take(holder, place.state, f"{job_id}.json", sight, owed)
    if taken is None:
        raise OSError(f"{job_id} cannot be claimed now")
    return taken


def settle(spool: Spool, taken: Claim, outcome: Outcome, *, later: bool = False) -> list[str]:
    """Enter an outcome without a run; return what is owed if it is to be committed later."""
    entry = Attempt(attempt=taken.attempt, outcome=outcome, worker=taken.worker)
    policy = spool.settings.current().retry_policy
    record, target = retry.next_record(taken.job, entry, policy, now=clock.now() + 3600, draw=0.0)
    owed = spool.claims.settle(taken, record, target).owed
    if not later:
        spool.disk.commit(*owed)
    return owed


def _open(root: Path) -> Spool:
    return open_spool(str(root), create=False)


def _publish(root: Path, ack: Ack) -> None:
    ack(Queue(root).submit(job("new")))


def _publish_named(root: Path, ack: Ack) -> None:
    ack(Queue(root).submit(job("new", "new")))


def _publish_batch(root: Path, ack: Ack) -> None:
    Queue(root).submit_many(job(f"new-{n}", "named" if n == 2 else None) for n in range(5))
    ack("all")


def _claim_it(root: Path, ack: Ack) -> None:
    spool = _open(root)
    claim(spool, Holder(spool).name, "waits")
    ack("claimed")


def claim_and_settle(tag: str, outcome: Outcome) -> Callable[[Path, Ack], object]:
    """Take the waiting job whose file has that name, and enter an outcome without a run."""

    def act(root: Path, ack: Ack) -> None:
        spool = _open(root)
        with Holder(spool) as holder:
            settle(spool, claim(spool, holder.name, tag), outcome)
        ack("settled")

    return act


def _hide_another(root: Path) -> None:
    """A file that somebody will move by hand to where the operation wants to go."""
    (root / BY_HAND).write_bytes(job("other", "waits").encode())


def _settle_onto_another(root: Path, ack: Ack) -> None:
    spool = _open(root)
    with Holder(spool) as holder:
        taken = claim(spool, holder.name, "waits")
        os.rename(root / BY_HAND, spool.layout.job("completed", "waits"))
        settle(spool, taken, "ok")
    ack("settled")


def _run_it(root: Path, ack: Ack) -> None:
    spool = _open(root)
    with Holder(spool) as holder:
        taken = claim(spool, holder.name, "waits")
        entry = attempt.run(spool, taken, 1, Settings(), StopSwitch())
        settle(spool, taken, entry.outcome)
        discard(spool.layout.claim(taken.worker, taken.id, taken.attempt, "run"))
    if entry.outcome != "ok":  # it could not be started, which is an outcome
        raise OSError(entry.error)
    ack("settled")


def _cancel(root: Path, ack: Ack) -> None:
    ack(Queue(root).cancel("waits"))


def _retry(tag: str) -> Callable[[Path, Ack], object]:
    return lambda root, ack: ack(Queue(root).retry(tag))


def _leave_claims_of_the_dead(root: Path) -> None:
    """What a worker leaves that was killed: a claim, an outcome not acted on, a mere hold."""
    spool = _open(root)
    holder = Holder(spool)
    claim(spool, holder.name, "waits")
    for tag, attempts in (("settled", 1), ("held", 0)):
        publish(spool, job(tag, tag), unique=True)
        taken = claim(spool, holder.name, tag)
        if attempts:
            entry = Attempt(attempt=1, outcome="ok", worker=taken.worker)
            record, _ = retry.next_record(
                taken.job, entry, spool.settings.current().retry_policy, now=clock.now(), draw=0
            )
            staged = spool.layout.staged()
            spool.disk.overwrite(taken.path, record.encode(), staged=staged)
        else:
            os.rename(taken.path, spool.layout.claim(taken.worker, tag, 0))
    os.close(holder._lock)


def _recover(root: Path, ack: Ack) -> None:
    recover(_open(root), grace=0.5, draw=0.0)
    ack("recovered")


def _drop_half(root: Path) -> None:
    Queue(root).set_setting("quiet_period", "0")
    (root / "pending" / "half.json").write_bytes(HALF)


def _look(root: Path, ack: Ack) -> None:
    spool = _open(root)
    Intake(spool, Hooks(spool, "none", 1, changed=lambda: None)).look_at_unknown()
    ack("looked")


def _set(root: Path, ack: Ack) -> None:
    Queue(root).set_setting("max_retries", "7")
    ack("set")


def _purge(root: Path, ack: Ack) -> None:
    Queue(root).purge("completed", -3600.0)
    ack("purged")


def _enrol_and_leave(root: Path, ack: Ack) -> None:
    spool = _open(root)
    reserved = reserve(spool)
    info = WorkerInfo(
        name=reserved.name, host="h", boot_id="b", pid=os.getpid(), slots=1,
        started_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    with Holder(spool, info, reserved):
        ack("enrolled")


def _make(root: Path, ack: Ack) -> None:
    Queue(root / "another")
    ack("made")


def _settings_are_whole(root: Path, acked: bool) -> list[str]:
    spool = _open(root)
    value = spool.settings.current().max_retries
    text = Path(spool.layout.settings).read_text()
    wrong = [] if value in ({7} if acked else {3, 7}) else [f"max_retries is {value}"]
    return wrong if "# kill_grace" in text else [*wrong, "the comments are gone"]


def _can_be_used(root: Path, acked: bool) -> list[str]:
    queue = Queue(root / "another")
    return [] if queue.get(queue.enqueue("true")).state == "pending" else ["no job is taken"]


TOLD = Path(f"/dev/shm/queuectl-hooks-{os.getpid()}")
"""Where hooks write down what they were told: where no power cut reaches."""


def _set_hooks(root: Path) -> None:
    for event in ("done", "dead"):
        Queue(root).set_setting(f"on_{event}", f"echo {event} $QUEUECTL_JOB_ID >> {TOLD}")


class InlineHooks(Hooks):
    """Hooks that are run by whoever says that their event has happened, so that strace sees it."""

    def _add(self, names: list[str]) -> None:
        control = StopSwitch()
        for name in names:
            self._run(name, control)
        control.close()


class HooksNeverRun(Hooks):
    """Hooks whose worker dies before it comes to them."""

    def _add(self, names: list[str]) -> None: ...


def _nothing() -> None: ...


def run_with_hooks(kind: type[Hooks]) -> Callable[[Path, Ack], object]:
    """Do what a slot does, in this thread; then the worker dies."""

    def act(root: Path, ack: Ack) -> None:
        TOLD.unlink(missing_ok=True)
        spool = _open(root)
        spool.load_settings()  # as a worker does: not the defaults where they cannot be read
        holder = Holder(spool)
        hooks = kind(spool, holder.name, 1, changed=_nothing)
        intake = Intake(spool, hooks)
        slot = Slot(1, Workshop(holder.name, intake, hooks, NO_OBSERVER, _nothing))
        slot._switch = StopSwitch()
        taken = slot._claim("pending", "waits.json", Seen("waits", 0), None)
        settled = slot._perform(taken) if taken else None
        if settled is None:
            raise OSError("not claimed, or not settled")
        slot._confirm(settled, settled.failure)
        ack("settled")

    return act


def _leave_hooks_of_the_dead(root: Path) -> None:
    """What a worker leaves that was killed: an event before its hook, and one that never came."""
    _set_hooks(root)
    spool = _open(root)
    settings = spool.settings.current()
    holder = Holder(spool)
    for tag, settles in (("happened", True), ("waits", False)):
        if tag != "waits":
            publish(spool, job(tag, tag), unique=True)
        taken = claim(spool, holder.name, tag)
        entry = Attempt(attempt=1, outcome="ok", worker=taken.worker)
        record, target = retry.next_record(
            taken.job, entry, settings.retry_policy, now=clock.now(), draw=0
        )
        assert hook_markers.put_for(spool, taken, record, target, settings)
        if settles:
            spool.disk.commit(*spool.claims.settle(taken, record, target).owed)
    last = job("last", "last").evolve(max_retries=0)
    publish(spool, last, unique=True)
    claim(spool, holder.name, "last")
    os.close(holder._lock)


def recover_with_hooks(kind: type[Hooks]) -> Callable[[Path, Ack], object]:
    """Recover the dead as a worker does; then that one dies."""

    def act(root: Path, ack: Ack) -> None:
        TOLD.unlink(missing_ok=True)
        spool = _open(root)
        spool.load_settings()  # as a worker does: not the defaults where they cannot be read
        holder = Holder(spool)
        hooks = kind(spool, holder.name, 1, changed=_nothing)
        recover(spool, grace=0.5, draw=0.0, heir=hooks)
        ack("recovered")

    return act


def _every_event_is_told(root: Path, acked: bool) -> list[str]:
    """Let a worker that recovers run what is left, and ask what was told."""
    spool = _open(root)
    with Holder(spool) as holder:
        hooks = InlineHooks(spool, holder.name, 1, changed=_nothing)
        recover_until(
            spool, lambda: os.listdir(spool.layout.processing) == [holder.name], heir=hooks
        )
    lines = TOLD.read_text().splitlines() if TOLD.exists() else []
    TOLD.unlink(missing_ok=True)
    wrong = []
    for state, event in (("completed", "done"), ("dead", "dead")):
        for job_id in ("waits", "happened", "last"):
            states = {place.state for place in spool.reader.places(job_id)}
            is_told = f"{event} {job_id}" in lines
            if is_told != (state in states) and (states or not is_told):  # the disk lost its name
                wrong.append(f"{job_id} is {states}, and told was {lines}")
    if os.listdir(spool.layout.workers) or os.listdir(spool.layout.processing):
        wrong.append("something of the dead is left")
    return wrong


NEW = {f"new-{n}" for n in range(5)}
RAN = {"waits": {"pending", "failed", "completed"}}
HOOKS_LEFT = {"waits": {"failed"}, "happened": {"completed"}, "last": {"dead"}}
DEAD_LEFT = {"waits": {"failed"}, "settled": {"completed"}, "held": {"pending"}}
OPERATIONS = [
    Operation("publish", _publish, {"new": {"absent", "pending"}}, {"new": {"pending"}}),
    Operation("publish named", _publish_named, {"new": {"absent", "pending"}},
              {"new": {"pending"}}),
    Operation("publish a batch", _publish_batch, {tag: {"absent", "pending"} for tag in NEW},
              {tag: {"pending"} for tag in NEW}),
    Operation("claim", _claim_it, {"waits": {"pending", "failed"}}, {"waits": {"failed"}}),
    Operation("settle to done", claim_and_settle("waits", "ok"),
              {"waits": {"pending", "failed", "completed"}}, {"waits": {"completed"}}),
    Operation("settle to failed", claim_and_settle("waits", "failed"),
              {"waits": {"pending", "failed"}}, {"waits": {"failed"}}),
    Operation("settle to dead", claim_and_settle("waits", "cancelled"),
              {"waits": {"pending", "failed", "dead"}}, {"waits": {"dead"}}),
    Operation("settle to pending", claim_and_settle("waits", "interrupted"),
              {"waits": {"pending", "failed"}}, {"waits": {"pending"}}),
    Operation("settle onto a taken name", _settle_onto_another,
              {"waits": {"pending", "failed", "completed"}, "other": {"absent", "completed"}},
              {"waits": {"completed"}, "other": {"completed"}}, prepare=_hide_another),
    Operation("claim, run, settle", _run_it,
              {"waits": {"pending", "failed", "completed"}}, {"waits": {"completed"}}),
    Operation("claim, run, settle with a hook", run_with_hooks(HooksNeverRun), RAN, RAN,
              prepare=_set_hooks, more=_every_event_is_told),
    Operation("take hooks over", recover_with_hooks(HooksNeverRun), HOOKS_LEFT, HOOKS_LEFT,
              prepare=_leave_hooks_of_the_dead, more=_every_event_is_told),
    Operation("cancel", _cancel, {"waits": {"pending", "dead"}}, {"waits": {"dead"}}),
    Operation("retry a dead job", _retry("gone"), {"gone": {"dead", "failed", "pending"}},
              {"gone": {"pending"}}),
    Operation("retry a failed job", _retry("fails"), {"fails": {"failed", "pending"}},
              {"fails": {"pending"}}),
    Operation("recover", _recover, DEAD_LEFT, DEAD_LEFT, prepare=_leave_claims_of_the_dead),
    Operation("look and reject", _look, {}, {}, prepare=_drop_half, not_jobs={"half.json": HALF}),
    Operation("config set", _set, {}, {}, more=_settings_are_whole),
    Operation("purge", _purge, {"done": {"completed", "absent"}}, {"done": {"absent"}}),
    Operation("enrol and leave", _enrol_and_leave, {}, {}),
    Operation("make a spool", _make, {}, {}, more=_can_be_used),
]  # fmt: skip

HOOK_OPERATIONS = [
    Operation("claim, run, settle, run the hook", run_with_hooks(InlineHooks), RAN, RAN,
              prepare=_set_hooks, more=_every_event_is_told),
    Operation("take hooks over and run them", recover_with_hooks(InlineHooks), HOOKS_LEFT,
              HOOKS_LEFT, prepare=_leave_hooks_of_the_dead, more=_every_event_is_told),
]  # fmt: skip
"""What a crash state cannot show: whether a hook that left nothing behind was run."""

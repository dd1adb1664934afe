"""Power cuts as two models of a file system allow them: each state of each operation is tried.

What no order of calls can prevent is let through, and counted: where a rename is two changes
that reach the disk apart (ext4 without a journal), a power cut between the rename and the fsync
after it may leave a file without any name. See `_nameless` in the harness.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from faults.harness.crash_states import JOURNALLED, UNJOURNALLED, Model, sample, states
from faults.harness.effects import Effects
from faults.harness.invariants import PAYLOAD, recovered
from faults.harness.operations import OPERATIONS, Operation, claim, claim_and_settle, settle
from faults.harness.strace import transcript
from faults.harness.sweep import Bench

from queuectl import Queue
from queuectl.disk import durable, filesystem, renames
from queuectl.spool import recovery as recovery_module
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready
from queuectl.spool.spool import Spool, open_spool

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.timeout(600),
]

MOST = int(os.environ.get("QUEUECTL_CRASH_STATES", "300"))
"""States tried of one operation; and a thirtieth of them again, cut once more in recovery."""


def _drop(name: str, job_id: str = "") -> Callable[[Path], None]:
    """A file as a program drops it: no `created_at`, so that its mtime stands for it."""

    def prepare(root: Path) -> None:
        named = f'"id":"{job_id}",' if job_id else ""
        text = f'{{{named}"command":"true","tag":"dropped","payload":{PAYLOAD.decode()}}}'
        (root / "pending" / name).write_text(text)

    return prepare


def _leave_a_claim(root: Path) -> None:
    """What a worker holds when the power is cut."""
    spool = open_spool(str(root), create=False)
    holder = Holder(spool)
    sight = spool.reader.look("pending", "waits.json")
    assert isinstance(sight, Ready)
    assert spool.claims.take(holder.name, "pending", "waits.json", sight)
    os.close(holder._lock)


def _settle_with_the_next_claim(root: Path, ack: Callable[[str], object]) -> None:
    """As a slot does it: what a settle owes is committed with the claim that follows."""
    spool = open_spool(str(root), create=False)
    holder = Holder(spool)
    owed = settle(spool, claim(spool, holder.name, "waits"), "ok", later=True)
    claim(spool, holder.name, "fails", owed)
    ack("claimed")


ENDS = {"dropped": {"pending", "failed", "completed"}}
MORE_OPERATIONS = [
    Operation("settle a dropped job", claim_and_settle("dropped", "ok"), ENDS,
              {"dropped": {"completed"}}, prepare=_drop("dropped.json")),
    Operation("settle a dropped job of another id", claim_and_settle("dropped", "ok"), ENDS,
              {"dropped": {"completed"}}, prepare=_drop("dropped.json", "inside")),
    Operation("settle a dropped job of a taken id", claim_and_settle("dropped", "ok"), ENDS,
              {"dropped": {"completed"}}, prepare=_drop("dropped.json", "done")),
    Operation("settle a retry", claim_and_settle("fails", "failed"), {"fails": {"failed"}},
              {"fails": {"failed"}}),
    Operation("settle the last retry", claim_and_settle("fails", "cancelled"),
              {"fails": {"failed", "dead"}}, {"fails": {"dead"}}),
    Operation("settle with the next claim", _settle_with_the_next_claim,
              {"waits": {"pending", "failed", "completed"}, "fails": {"failed"}},
              {"waits": {"completed"}, "fails": {"failed"}}),
    Operation("cancel a claimed job", lambda root, ack: ack(Queue(root).cancel("waits")),
              {"waits": {"failed", "dead"}}, {"waits": {"dead"}}, prepare=_leave_a_claim),
]  # fmt: skip
ALL = [*OPERATIONS, *MORE_OPERATIONS]
OPERATION = {each.name: each for each in ALL}

each_operation = pytest.mark.parametrize("operation", ALL, ids=lambda each: each.name)
SHORTCUTS = JOURNALLED._replace(name="journalled, with shortcuts")
"""The same file system, and queuectl knows that it keeps one log."""
each_model = pytest.mark.parametrize(
    "model", [JOURNALLED, UNJOURNALLED, SHORTCUTS], ids=lambda each: each.name
)


@pytest.fixture(autouse=True)
def _what_is_known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    model = request.node.callspec.params.get("model") if hasattr(request.node, "callspec") else None
    known = filesystem.FileSystem(syncs_as_one=True, has_one_log=model is SHORTCUTS)
    monkeypatch.setattr(filesystem, "about", lambda _: known)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs nothing to fill and empty."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-faults-") as directory:
        yield Path(directory)


class Verdict(NamedTuple):
    """What was tried of an operation's states, and what was found."""

    found: int
    tried: int
    nameless: int
    violations: list[str]


def judge(bench: Bench, effects: Effects, model: Model, most: int = MOST) -> Verdict:
    """Build the states that a power cut may leave, and name what then is not as it must be."""
    found = states(effects, model)
    tried = sample(found, most)
    nameless, wrong = 0, []
    for state in tried:
        state.build(bench.root)
        nameless += bool(state.nameless)
        wrong += [f"{bench.operation.name}, {state.describe(effects)}: {line}"
                  for line in bench.judge(state.acked, state.nameless)]  # fmt: skip
    return Verdict(len(found), len(tried), nameless, wrong)


@each_operation
@each_model
@pytest.mark.parametrize("rename", ["renameat2", "link and unlink"])
def test_no_state_that_a_power_cut_may_leave_loses_or_doubles_a_job(
    operation: Operation, model: Model, rename: str, memory: Path,
    monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None],
) -> None:  # fmt: skip
    if rename != "renameat2":
        monkeypatch.setattr(renames, "_renameat2", None)
    bench = Bench(operation, memory)

    verdict = judge(bench, bench.effects(), model)

    figures(f"crash states, {model.name}", states=verdict.tried,
            nameless=verdict.nameless, cut=verdict.found - verdict.tried,
            violations=len(verdict.violations))  # fmt: skip
    assert verdict.tried > 1
    assert verdict.violations == []


@each_operation
@each_model
def test_nor_does_a_second_cut_while_the_first_is_recovered(
    operation: Operation, model: Model, memory: Path, figures: Callable[..., None]
) -> None:
    bench = Bench(operation, memory)
    effects = bench.effects()
    tried, wrong = 0, []
    for first in sample(states(effects, model), max(4, MOST // 30)):
        first.build(bench.root)
        recovery = Effects(bench.root, memory / "no acks")
        recovery.follow(transcript(lambda: recovered(bench.root), memory / "log"))
        for second in sample(states(recovery, model), MOST // 10):
            second.build(bench.root)
            tried += 1
            wrong += [
                f"{operation.name}, {first.describe(effects)}; then {second.describe(recovery)}: "
                f"{line}"
                for line in bench.judge(first.acked, [*first.nameless, *second.nameless])
            ]

    figures(f"crash states of a recovery, {model.name}", states=tried, violations=len(wrong))
    assert tried > 1
    assert wrong == []


def _nothing(*_: object) -> None:
    pass


def _source_first(disk: durable.Disk, source: str, target: str) -> list[str]:
    renames.exclusive(source, target)
    return [os.path.dirname(source), os.path.dirname(target)]


def _never_superseded(spool: Spool, place: object, job: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("where", "name", "mistake", "operation", "model", "sign"),
    [
        (durable.Disk, "_force", _nothing, "publish", JOURNALLED, "torn"),
        (durable.Disk, "_force", _nothing, "settle to done", JOURNALLED, "torn"),
        (durable.Disk, "_force", _nothing, "publish", UNJOURNALLED, "torn"),
        (durable.Disk, "commit", _nothing, "publish", JOURNALLED, "new is absent"),
        (durable.Disk, "commit", _nothing, "publish", UNJOURNALLED, "new is absent"),
        (durable.Disk, "commit", _nothing, "settle to done", UNJOURNALLED, "is pending"),
        (durable.Disk, "move", _source_first, "settle to done", UNJOURNALLED, "is absent"),
        (recovery_module, "_is_superseded", _never_superseded, "settle to done", UNJOURNALLED,
         "stands 2"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or getattr(value, "name", None),
)  # fmt: skip
def test_a_mistake_in_the_protocol_is_caught(
    where: type, name: str, mistake: Callable[..., object], operation: str, model: Model,
    sign: str, memory: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bench = Bench(OPERATION[operation], memory)
    monkeypatch.setattr(where, name, mistake)

    found = judge(bench, bench.effects(), model).violations

    assert any(sign in line for line in found), found


def test_what_the_journal_keeps_in_order_hides_a_wrong_order_of_fsyncs(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why two models are tried: the stronger one cannot tell this mistake from the real thing."""
    bench = Bench(OPERATION["settle to done"], memory)
    monkeypatch.setattr(durable.Disk, "move", _source_first)

    assert judge(bench, bench.effects(), JOURNALLED).violations == []

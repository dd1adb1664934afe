"""Claiming: one rename decides, and the claimed file's name tells owner, job and attempt."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk.durable import Disk
from queuectl.disk.locks import make_locked
from queuectl.errors import IdsBusy, InvalidJob, NotDurable, StillRuns
from queuectl.spool.holder import Holder
from queuectl.spool.places import Claim, Ready
from queuectl.spool.spool import Spool

Take = Callable[..., Claim | None]


@pytest.fixture
def holder(spool: Spool) -> Iterator[Holder]:
    with Holder(spool) as holder:
        yield holder


@pytest.fixture
def take(spool: Spool, holder: Holder) -> Take:
    def claim(name: str, state: Any = "pending", meanwhile: Callable[[], object] = int) -> Any:
        sight = spool.reader.look(state, name)
        assert isinstance(sight, Ready), sight
        meanwhile()
        return spool.claims.take(holder.name, state, name, sight)

    return claim


def _names(holder: Holder) -> list[str]:
    return sorted(os.listdir(holder.spool.layout.claims(holder.name)))


@pytest.mark.parametrize(
    ("name", "data", "claimed"),
    [
        ("a.json", '{"command": "true"}', "a.1.json"),
        ("a.b.json", '{"command": "true"}', "a.b.1.json"),
        ("a.json", '{"command": "true", "id": "b"}', "b.1.json"),
        ("no id.json", '{"command": "true", "id": "b"}', "b.1.json"),
        ("a.json", '{"command": "true", "attempts": 7}', "a.1.json"),
        (
            "a.json",
            '{"command": "true", "history": [{"attempt": 1, "outcome": "ok"}]}',
            "a.2.json",
        ),
    ],
)
def test_a_claimed_file_is_named_by_job_and_attempt(
    drop: Callable[..., Path], take: Take, holder: Holder, name: str, data: str, claimed: str
) -> None:
    drop(name, data)
    claim = take(name)
    assert claim is not None
    assert claim.job.id == claim.id
    assert _names(holder) == [claimed]


def test_a_claimed_file_keeps_its_bytes(drop: Callable[..., Path], take: Take) -> None:
    drop("a.json", '{"command":"true","x":1.10}')
    claim = take("a.json")
    assert Path(claim.path).read_bytes() == b'{"command":"true","x":1.10}'


@pytest.mark.parametrize("state", ["failed", "done", "dead"])
def test_a_dropped_job_whose_id_is_taken_gets_the_next_number(
    drop: Callable[..., Path], take: Take, holder: Holder, state: str
) -> None:
    drop("a.json", state=state)
    drop("a.2.json", state="done")
    drop("a.json")
    assert take("a.json").id == "a.3"
    assert _names(holder) == ["a.3.1.json"]


def test_two_files_that_claim_one_id_are_two_jobs(
    drop: Callable[..., Path], take: Take, holder: Holder
) -> None:
    for name in ("one.json", "two.json"):
        drop(name, '{"command": "true", "id": "a"}')
    assert [take("one.json").id, take("two.json").id] == ["a", "a.2"]
    assert _names(holder) == ["a.1.json", "a.2.1.json"]


def test_a_numbered_id_is_no_longer_than_an_id_may_be(
    drop: Callable[..., Path], take: Take
) -> None:
    drop(f"{'x' * 100}.json", state="done")
    drop(f"{'x' * 100}.json")
    assert take(f"{'x' * 100}.json").id == "x" * 98 + ".2"


def test_a_failed_job_keeps_its_id_though_another_is_dropped_under_it(
    drop: Callable[..., Path], take: Take
) -> None:
    drop("a.json", state="failed")
    drop("a.json")
    assert take("a.json", "failed").id == "a"


def test_of_two_who_claim_a_job_one_gets_it(
    spool: Spool, drop: Callable[..., Path], take: Take
) -> None:
    drop("a.json")
    with Holder(spool) as other:
        sight = spool.reader.look("pending", "a.json")
        assert isinstance(sight, Ready)
        assert take("a.json") is not None
        assert spool.claims.take(other.name, "pending", "a.json", sight) is None


def test_eight_processes_share_the_jobs_and_none_gets_one_twice(
    queue: Queue, at_once: Callable[..., list[Any]]
) -> None:
    ids = queue.enqueue_many({"command": "true"} for _ in range(200))
    taken = at_once(_claim_all, [(queue.path,)] * 8)
    assert sorted(job_id for each in taken for job_id in each) == sorted(ids)


def test_eight_processes_that_claim_files_of_one_id_run_each_under_its_own(
    queue: Queue, drop: Callable[..., Path], at_once: Callable[..., list[Any]]
) -> None:
    for number in range(40):
        drop(f"{number}.json", '{"command": "true", "id": "same"}')
    taken = [job_id for each in at_once(_claim_all, [(queue.path,)] * 8) for job_id in each]
    assert len(taken) == len(set(taken)) == 40


def _claim_all(path: str) -> list[str]:
    spool = Queue(path).spool
    holder = Holder(spool)
    claims = []
    while names := [*spool.reader.names("pending")]:
        for name in names:
            sight = spool.reader.look("pending", name)
            if isinstance(sight, Ready):
                with contextlib.suppress(IdsBusy):
                    claims.append(spool.claims.take(holder.name, "pending", name, sight))
    return [claim.id for claim in claims if claim is not None]


def test_what_is_run_is_what_stands_in_the_file_after_the_claim(
    drop: Callable[..., Path], take: Take
) -> None:
    drop("a.json")
    new = '{"command": "echo changed"}'
    claim = take("a.json", meanwhile=lambda: drop("a.json", new))
    assert claim.job.command == "echo changed"


def test_a_job_that_has_had_another_attempt_meanwhile_is_left_to_be_looked_at_again(
    drop: Callable[..., Path], take: Take, stands: Callable[[], list[str]]
) -> None:
    drop("a.json")
    history = [{"attempt": number, "outcome": "failed"} for number in (1, 2)]
    new = json.dumps({"command": "true", "history": history})
    assert take("a.json", meanwhile=lambda: drop("a.json", new)) is None
    assert stands() == ["pending/a.json"]


def test_a_file_that_has_become_no_job_is_put_back(
    drop: Callable[..., Path], take: Take, stands: Callable[[], list[str]]
) -> None:
    drop("a.json")
    with pytest.raises(InvalidJob):
        take("a.json", meanwhile=lambda: drop("a.json", "[]"))
    assert stands() == ["pending/a.json"]


def test_a_claim_that_is_not_durable_is_given_back(
    drop: Callable[..., Path],
    take: Take,
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise NotDurable("the disk refuses")

    drop("a.json")
    monkeypatch.setattr(Disk, "commit", refuse)
    with pytest.raises(NotDurable):
        take("a.json")
    assert stands() == ["pending/a.json"]


def test_a_claim_that_the_disk_refuses_leaves_the_job_where_it_is(
    drop: Callable[..., Path],
    take: Take,
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    drop("a.json")
    monkeypatch.setattr(Disk, "take", refuse)
    with pytest.raises(OSError, match="full"):
        take("a.json")
    assert stands() == ["pending/a.json"]


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_claim_that_is_released_goes_back_to_where_it_was(
    spool: Spool,
    drop: Callable[..., Path],
    take: Take,
    stands: Callable[[], list[str]],
    either_rename: str,
    state: str,
) -> None:
    drop("a.json", state=state)
    claim = take("a.json", state)
    assert claim
    spool.claims.release(claim)
    assert stands() == [f"{state}/a.json"]


def test_a_claim_yields_its_id_to_one_that_another_holder_has(
    spool: Spool, drop: Callable[..., Path], take: Take, holder: Holder
) -> None:
    for name in ("one.json", "two.json"):
        drop(name, '{"command": "true", "id": "a"}')
    with Holder(spool) as other:
        seen = spool.reader.look("pending", "one.json")
        assert isinstance(seen, Ready)
        first = spool.claims.take(other.name, "pending", "one.json", seen)
        assert first
        assert (first.id, take("two.json").id) == ("a", "a.2")
        assert _names(holder) == ["a.2.1.json"]
        spool.claims.release(first)


def test_a_job_that_still_runs_is_not_claimed(
    root: Path, drop: Callable[..., Path], take: Take, stands: Callable[[], list[str]]
) -> None:
    (root / "processing" / "other").mkdir()
    lock = make_locked(f"{root}/processing/other/a.1.run", f"{root}/tmp/run", 0o600)
    drop("a.json")
    with pytest.raises(StillRuns):
        take("a.json")
    assert stands() == ["pending/a.json"]
    os.close(lock)
    assert take("a.json")

"""A job that has two names for a moment: a move by link and unlink, and calls answered falsely.

A network file system has no exclusive rename, and it may send a call again whose answer was lost:
the second answer is then an error, though the call was carried out.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk import locks, renames
from queuectl.record.job import Attempt
from queuectl.spool import integrity
from queuectl.spool.claims import name_to_remove
from queuectl.spool.holder import Holder
from queuectl.spool.layout import DIRECTORIES
from queuectl.spool.places import Claim, ClaimedPlace, Ready, Unfit
from queuectl.spool.reject import reject
from queuectl.spool.spool import Spool

TARGETS = ["completed", "failed", "dead", "pending"]


_renameat2 = renames._renameat2


@pytest.fixture(autouse=True)
def _no_exclusive_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renames, "_renameat2", None)


@pytest.fixture
def false_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], list[str]]:
    """Let a call of os be carried out and answer an error the first time it names a job file."""

    def arrange(name: str, code: int) -> list[str]:
        real = getattr(os, name)
        hit: list[str] = []

        def call(path: str, *more: Any, **options: Any) -> Any:
            answer = real(path, *more, **options)
            last = os.path.basename(more[0] if more else path)
            if not hit and last.endswith(".json") and len(last) < len("a.1.json") + 1:
                hit.append(path)
                raise OSError(code, os.strerror(code), path)
            return answer

        monkeypatch.setattr(os, name, call)
        return hit

    return arrange


def _take(spool: Spool, holder: Holder) -> Claim | None:
    seen = spool.reader.look("pending", "a.json")
    assert isinstance(seen, Ready)
    return spool.claims.take(holder.name, "pending", "a.json", seen)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("unlink", errno.ENOENT),
        ("unlink", errno.EIO),
        ("link", errno.EEXIST),
        ("link", errno.ETIMEDOUT),
        ("rename", errno.ENOENT),
        ("rename", errno.ETIMEDOUT),
    ],
)
def test_a_settle_whose_call_was_done_but_answered_an_error_is_done(
    spool: Spool,
    drop: Callable[..., Path],
    stands: Callable[[], list[str]],
    false_answer: Callable[[str, int], list[str]],
    call: str,
    code: int,
    target: Any,
) -> None:
    drop("a.json")
    with Holder(spool) as holder:
        claim = _take(spool, holder)
        assert claim is not None
        hit = false_answer(call, code)
        record = claim.job.with_attempt(Attempt(attempt=1, outcome="failed"), attempts=1)
        moved = spool.claims.settle(claim, record, target)
    assert (hit != [], moved.id) == (True, "a")
    assert stands() == [f"{DIRECTORIES[target]}/a.json"]


@pytest.mark.skipif(_renameat2 is None, reason="this system has no renameat2")
@pytest.mark.parametrize("code", [errno.ENOENT, errno.EEXIST, errno.ETIMEDOUT])
def test_a_settle_whose_exclusive_rename_was_done_but_answered_an_error_is_done(
    spool: Spool,
    drop: Callable[..., Path],
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    drop("a.json")
    hit = []

    def rename(*args: Any) -> int:
        assert _renameat2 is not None
        hit.append(_renameat2(*args))
        ctypes.set_errno(code)
        return -1

    with Holder(spool) as holder:
        claim = _take(spool, holder)
        assert claim is not None
        monkeypatch.setattr(renames, "_renameat2", rename)
        record = claim.job.with_attempt(Attempt(attempt=1, outcome="ok"), attempts=1)
        moved = spool.claims.settle(claim, record, "completed")
    assert (set(hit), moved.id) == ({0}, "a")
    assert stands() == ["done/a.json"]


def test_a_lock_file_whose_rename_was_done_but_answered_an_error_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def rename(source: str, target: str) -> None:
        real(source, target)
        raise FileNotFoundError(errno.ENOENT, "answered falsely", source)

    monkeypatch.setattr(os, "rename", rename)
    lock = locks.make_locked(f"{tmp_path}/lock", f"{tmp_path}/staged", 0o600)
    assert locks.is_locked(f"{tmp_path}/lock")
    os.close(lock)


def test_a_claim_whose_rename_was_done_but_answered_an_error_is_made(
    spool: Spool, drop: Callable[..., Path], false_answer: Callable[[str, int], list[str]]
) -> None:
    drop("a.json")
    with Holder(spool) as holder:
        hit = false_answer("rename", errno.ENOENT)
        claim = _take(spool, holder)
        assert hit
        assert claim is not None
        spool.claims.release(claim)


def test_a_job_whose_link_was_done_but_answered_an_error_is_published(
    queue: Queue,
    stands: Callable[[], list[str]],
    false_answer: Callable[[str, int], list[str]],
) -> None:
    hit = false_answer("link", errno.EEXIST)
    assert queue.enqueue("true", id="a") == "a"
    assert hit
    assert stands() == ["pending/a.json"]


def test_a_repair_between_the_link_and_the_unlink_of_a_retry_removes_nothing(
    queue: Queue,
    spool: Spool,
    stands: Callable[[], list[str]],
    drop: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = '{"command": "true", "history": [{"attempt": 1, "outcome": "failed"}]}'
    drop("a.json", record, state="dead")
    real, seen = os.unlink, []

    def unlink(path: str) -> None:
        if "/processing/" in path and path.endswith(".json"):
            seen.append(stands())
            assert integrity.check(spool, repair=True) == []
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    queue.retry("a")
    assert len(seen[0]) == 2
    assert stands() == ["pending/a.json"]


def test_of_two_names_in_two_states_repair_removes_the_earlier(
    spool: Spool, root: Path, stands: Callable[[], list[str]], drop: Callable[..., Path]
) -> None:
    os.link(drop("a.json", state="done"), root / "failed" / "a.json")
    found = [each for each in integrity.check(spool, repair=True) if each.damage == "two places"]
    assert [(each.path, each.repaired) for each in found] == [(f"{root}/failed/a.json", True)]
    assert stands() == ["done/a.json"]


def test_a_slot_does_not_take_a_job_that_another_slot_is_putting_back(
    spool: Spool,
    stands: Callable[[], list[str]],
    drop: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drop("a.json")
    real, refused = os.unlink, []

    with Holder(spool) as holder:
        claim = _take(spool, holder)
        assert claim is not None

        def unlink(path: str) -> None:
            if path == claim.path:
                with pytest.raises(OSError, match="another slot") as refusal:
                    _take(spool, holder)
                refused.append(refusal.value.errno)
            real(path)

        monkeypatch.setattr(os, "unlink", unlink)
        spool.claims.put_back(next(iter(spool.reader.claims(holder.name))), "pending")
    assert refused == [errno.EBUSY]  # that file alone waits: it will be claimed again
    assert stands() == ["pending/a.json"]


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_file_that_is_claimed_while_it_is_rejected_stays_with_its_worker(
    spool: Spool,
    root: Path,
    drop: Callable[..., Path],
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    is_whole: bool,
) -> None:
    """Between the link to dead/ and the unlink; its writer may have finished it just then."""
    path = drop("a.json", "{")
    seen = spool.reader.look("pending", "a.json")
    assert isinstance(seen, Unfit)
    real, claim = os.link, root / "processing" / "W" / "a.1.json"
    claim.parent.mkdir()

    def link(source: str, target: str, **more: Any) -> None:
        real(source, target, **more)
        if target.endswith("dead/a.json"):
            os.rename(source, claim)
            if is_whole:
                claim.write_text('{"command": "true"}')

    monkeypatch.setattr(os, "link", link)
    assert reject(spool, str(path), seen.reason, seen=seen) is None
    assert stands() == ["processing/W/a.1.json"]
    assert not (root / "dead" / "a.error").exists()


def test_of_two_claims_of_one_file_by_one_dead_holder_the_earlier_attempt_goes(
    tmp_path: Path,
) -> None:
    one, other = (
        ClaimedPlace("processing", job_id, str(tmp_path / f"{job_id}.{attempt}.json"), "w", attempt)
        for job_id, attempt in (("z", 1), ("a", 2))
    )
    Path(one.path).touch()
    os.link(one.path, other.path)
    assert name_to_remove(one, other, dead="w") == one
    assert name_to_remove(other, one, dead="w") == one
    assert name_to_remove(one, other, dead="v") is None

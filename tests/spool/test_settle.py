"""Settling: the outcome is written over the claim, then the job moves on, never over another."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.disk import renames
from queuectl.disk.durable import Disk
from queuectl.errors import ClaimLost
from queuectl.record.job import Attempt, Job
from queuectl.spool.holder import Holder
from queuectl.spool.layout import DIRECTORIES
from queuectl.spool.places import Claim, Ready
from queuectl.spool.spool import Spool

TARGETS = ["completed", "failed", "dead", "pending"]


@pytest.fixture
def claim(spool: Spool, drop: Callable[..., Path]) -> Iterator[Claim]:
    drop("a.json")
    sight = spool.reader.look("pending", "a.json")
    assert isinstance(sight, Ready)
    with Holder(spool) as holder:
        claim = spool.claims.take(holder.name, "pending", "a.json", sight)
        assert claim is not None
        yield claim


def _over(claim: Claim) -> Job:
    return claim.job.with_attempt(Attempt(attempt=1, outcome="failed"), attempts=1)


@pytest.mark.parametrize("target", TARGETS)
def test_a_settled_job_stands_in_its_state_with_its_history(
    spool: Spool,
    claim: Claim,
    root: Path,
    stands: Callable[[], list[str]],
    either_rename: str,
    target: Any,
) -> None:
    moved = spool.claims.settle(claim, _over(claim), target)
    spool.disk.commit(*moved.owed)
    assert moved.id == "a"
    assert stands() == [f"{DIRECTORIES[target]}/a.json"]
    assert json.loads((root / stands()[0]).read_bytes())["history"][0]["outcome"] == "failed"
    assert not [*(root / "tmp").iterdir()]


@pytest.mark.parametrize("target", TARGETS)
def test_settling_never_overwrites_another_job(
    spool: Spool,
    claim: Claim,
    drop: Callable[..., Path],
    either_rename: str,
    target: Any,
) -> None:
    theirs = drop("a.json", "theirs", state=DIRECTORIES[target])
    assert spool.claims.settle(claim, _over(claim), target).id == "a.2"
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize(("where", "failing"), [(Disk, "write"), (renames, "over"), (Disk, "move")])
def test_settling_that_failed_can_be_tried_again(
    spool: Spool,
    claim: Claim,
    root: Path,
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    failing: str,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(where, failing, refuse)
        with pytest.raises(OSError, match="full"):
            spool.claims.settle(claim, _over(claim), "completed")
    assert os.path.lexists(claim.path)
    spool.claims.settle(claim, _over(claim), "completed")
    assert stands() == ["done/a.json"]
    assert not [*(root / "tmp").iterdir()]


def test_settling_that_failed_after_the_link_gives_one_job(
    spool: Spool, claim: Claim, stands: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path == claim.path:
            raise OSError(errno.EIO, "broken")
        unlink(path)

    monkeypatch.setattr(renames, "_renameat2", None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(OSError, match="broken"):
            spool.claims.settle(claim, _over(claim), "completed")
    spool.claims.settle(claim, _over(claim), "completed")
    assert stands() == ["done/a.json"]


def test_a_claim_that_is_gone_is_lost_and_nothing_is_made_of_it(
    spool: Spool, claim: Claim, root: Path, stands: Callable[[], list[str]]
) -> None:
    Path(claim.path).rename(root / "dead" / "a.json")
    with pytest.raises(ClaimLost):
        spool.claims.settle(claim, _over(claim), "completed")
    assert stands() == ["dead/a.json"]


@pytest.mark.parametrize("step", ["write", "renew"])
def test_a_claim_that_is_moved_away_during_the_settle_is_lost(
    spool: Spool,
    claim: Claim,
    root: Path,
    stands: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    either_rename: str,
    step: str,
) -> None:
    """While its new record is forced to disk, and once more between the outcome and the move."""
    real = getattr(Disk, step)

    def then_move(*given: object, **more: object) -> None:
        real(*given, **more)
        Path(claim.path).rename(root / "dead" / "a.json")

    monkeypatch.setattr(Disk, step, then_move)
    with pytest.raises(ClaimLost):
        spool.claims.settle(claim, _over(claim), "completed")
    assert stands() == ["dead/a.json"]
    assert not [*(root / "tmp").iterdir()]


def test_the_target_reaches_the_disk_before_the_source(
    spool: Spool, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    commit = Disk.commit

    def noted(disk: Disk, *paths: str) -> None:
        commit(disk, *paths)
        steps.extend(os.path.relpath(path, spool.layout.root).split("/")[0] for path in paths)

    monkeypatch.setattr(Disk, "commit", noted)
    spool.disk.commit(*spool.claims.settle(claim, _over(claim), "completed").owed)
    assert steps == ["done", "processing"]

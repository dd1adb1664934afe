"""A read that fails says nothing about the file: it waits, and nothing is decided about it."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import StillRuns
from queuectl.record.hook_event import Marker
from queuectl.record.job import Attempt
from queuectl.spool import hook_markers, integrity
from queuectl.spool.holder import Holder
from queuectl.spool.places import Ready, Unfit
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool

Fail = Callable[..., None]

THE_FILES_OWN = {errno.ENOENT, errno.EACCES, errno.EPERM}
TROUBLE = sorted(set(errno.errorcode) - THE_FILES_OWN)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let a call fail for one path, or for a descriptor of it, by the error that `code` gives.

    While it gives 0, the call is carried out.
    """
    opened: set[int] = set()
    real_open = os.open

    def remembering(path: Any, *args: Any, **options: Any) -> int:
        fd = real_open(path, *args, **options)
        opened.discard(fd)
        if str(path) in broken:
            opened.add(fd)
        return fd

    broken: set[str] = set()
    monkeypatch.setattr(os, "open", remembering)

    def arrange(path: Path, code: Callable[[], int], call: str = "open") -> None:
        real = getattr(os, call)
        broken.add(str(path))

        def broken_call(first: Any, *args: Any, **options: Any) -> Any:
            if (str(first) == str(path) or first in opened) and (error := code()):
                raise OSError(error, os.strerror(error), str(path))
            return real(first, *args, **options)

        monkeypatch.setattr(os, call, broken_call)

    return arrange


@pytest.mark.parametrize("call", ["open", "fstat", "read"])
def test_no_errno_is_taken_for_the_files_fault(
    spool: Spool, drop: Callable[..., Path], fail: Fail, call: str
) -> None:
    code = [0]
    fail(drop("a.json"), lambda: code[0], call)
    for code[0] in TROUBLE:
        with pytest.raises(OSError, match=re.escape(os.strerror(code[0]))):
            spool.reader.look("pending", "a.json")
    code[0] = 0
    assert isinstance(spool.reader.look("pending", "a.json"), Ready)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_file_that_may_not_be_read_is_not_ready(
    spool: Spool, drop: Callable[..., Path], fail: Fail, code: int
) -> None:
    fail(drop("a.json"), lambda: code)
    seen = spool.reader.look("pending", "a.json")
    assert isinstance(seen, Unfit)
    assert seen.reason == os.strerror(code)


def test_a_job_that_cannot_be_read_for_a_while_is_run_and_a_drain_waits_for_it(
    queue: Queue,
    root: Path,
    drop: Callable[..., Path],
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    fail: Fail,
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = root / "dead" / "late.json"
    fail(drop("a.json"), lambda: 0 if late.exists() else errno.ETIMEDOUT)

    def drop_more(worker: Any) -> None:
        eventually(lambda: ("pending", "a.json") in worker._intake.postponed)
        for name in ("early", "late"):  # one after the other: each takes a quiet period
            drop(f"{name}.json", "[]")
            eventually((root / "dead" / f"{name}.json").exists)

    with caplog.at_level(logging.WARNING):
        work(queue, drop_more, drain=True)
    assert queue.get("a").state == "completed"
    said = [record.message for record in caplog.records if "'a.json'" in record.message]
    assert len(said) == 1
    assert os.strerror(errno.ETIMEDOUT) in said[0]


@pytest.mark.parametrize("state", ["done", "failed", "dead"])
def test_check_moves_no_job_that_it_cannot_read_now(
    spool: Spool, root: Path, drop: Callable[..., Path], fail: Fail, state: str
) -> None:
    path = drop("a.json", state=state)
    path.chmod(0o600)
    fail(path, lambda: errno.EIO)
    (found,) = integrity.check(spool, repair=True)
    assert (found.damage, found.path, found.remedy) == ("unreadable", str(path), None)
    assert os.strerror(errno.EIO) in found.problem
    assert path.exists()
    assert not [*(root / "dead").glob("*.error")]


def test_a_claim_waits_while_its_namesake_cannot_be_read(
    spool: Spool,
    root: Path,
    drop: Callable[..., Path],
    bury: Callable[[Holder], None],
    stands: Callable[[], list[str]],
    fail: Fail,
) -> None:
    """A power cut may leave the result of a claim and the claim: the result must be seen."""
    drop("a.json", '{"command": "true", "created_at": "2026-01-01T00:00:00Z"}')
    holder = Holder(spool)
    seen = spool.reader.look("pending", "a.json")
    assert isinstance(seen, Ready)
    claim = spool.claims.take(holder.name, "pending", "a.json", seen)
    assert claim is not None
    before = Path(claim.path).read_bytes()
    entry = Attempt(attempt=1, outcome="ok", worker=holder.name)
    spool.claims.settle(claim, claim.job.with_attempt(entry, attempts=1), "completed")
    Path(claim.path).write_bytes(before)
    bury(holder)
    code = [errno.ESTALE]
    fail(root / "done" / "a.json", lambda: code[0])
    both = sorted(["done/a.json", str(Path(claim.path).relative_to(root))])

    assert recover(spool, grace=0, draw=0.0) == []
    assert stands() == both
    code[0] = 0
    recover(spool, grace=0, draw=0.0)
    assert stands() == ["done/a.json"]


def test_a_job_whose_run_file_cannot_be_looked_at_is_taken_to_run(
    spool: Spool, drop: Callable[..., Path], stands: Callable[[], list[str]], fail: Fail
) -> None:
    """It was moved back by hand, and a command of it may still run."""
    drop("a.json")
    seen = spool.reader.look("pending", "a.json")
    assert isinstance(seen, Ready)
    with Holder(spool) as before, Holder(spool) as now:
        run_file = Path(spool.layout.claim(before.name, "a", 1, "run"))
        run_file.touch()
        fail(run_file, lambda: errno.EMFILE)
        with pytest.raises(StillRuns):
            spool.claims.take(now.name, "pending", "a.json", seen)
        assert stands() == ["pending/a.json"]


def test_a_hook_waits_while_its_job_cannot_be_read(
    spool: Spool, drop: Callable[..., Path], fail: Fail
) -> None:
    fail(drop("a.json", state="done"), lambda: errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        hook_markers.find_job(spool, Marker(event="done", id="a", attempt=1, state="completed"))

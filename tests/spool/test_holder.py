"""Names of holders: no two have one name, whatever the names that they would choose."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from queuectl.disk import locks
from queuectl.spool import layout
from queuectl.spool.holder import Holder
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool
from queuectl.worker.worker import Worker


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all choose the same names, as containers with one host name and equal pids may."""
    chosen = iter(["vm-1-aaaa", "vm-1-aaaa", "vm-1-bbbb"])
    monkeypatch.setattr(layout, "new_worker", lambda *_: next(chosen))


@pytest.mark.usefixtures("names")
def test_a_holder_takes_another_name_if_its_own_is_taken(spool: Spool) -> None:
    with Holder(spool) as first, Holder(spool) as second:
        assert (first.name, second.name) == ("vm-1-aaaa", "vm-1-bbbb")
        assert first.is_valid()
        assert second.is_valid()


@pytest.mark.usefixtures("names")
def test_a_worker_takes_another_name_if_its_own_is_taken(spool: Spool, root: Path) -> None:
    with Holder(spool) as first:
        worker = Worker(spool, 1, drain=True)
        assert (first.name, worker.name) == ("vm-1-aaaa", "vm-1-bbbb")
        worker.run()
        assert first.is_valid()
        assert [path.name for path in (root / "workers").iterdir()] == ["vm-1-aaaa.lock"]


@pytest.mark.usefixtures("names")
def test_the_name_of_a_dead_holder_with_claims_is_taken(spool: Spool, root: Path) -> None:
    claims = root / "processing" / "vm-1-aaaa"
    claims.mkdir()
    chosen = Holder(spool)
    assert chosen.name == "vm-1-bbbb"
    chosen.leave()
    assert claims.is_dir()


@pytest.mark.usefixtures("names")
def test_a_name_with_a_stop_file_that_was_left_is_not_used(spool: Spool, root: Path) -> None:
    (root / "workers" / "vm-1-aaaa.stop").touch()
    with Holder(spool) as holder:
        assert holder.name == "vm-1-bbbb"


@pytest.mark.parametrize("is_over", [True, False])
def test_a_name_that_recovery_has_locked_first_is_not_used(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    flock, held = fcntl.flock, []

    def after_recovery(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        if is_over:
            recover(spool, grace=0, draw=0)
        else:
            held.append(locks.try_lock(str(root / "workers" / "vm-1-aaaa.lock")))
        flock(fd, how)

    chosen = iter(["vm-1-aaaa", "vm-1-bbbb"])
    monkeypatch.setattr(layout, "new_worker", lambda *_: next(chosen))
    monkeypatch.setattr(fcntl, "flock", after_recovery)
    with Holder(spool) as holder:
        assert holder.name == "vm-1-bbbb"
        assert holder.is_valid()
    for lock in held:
        os.close(lock or -1)
    assert len(held) == (not is_over)

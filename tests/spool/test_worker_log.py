"""The log of a worker in the background: bounded, and never lost by who moves it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.spool import integrity
from queuectl.worker import log_file
from queuectl.worker.log_file import WorkerLog

NAME = "host-1-0000"


@pytest.fixture
def log(queue: Queue) -> Iterator[WorkerLog]:
    log = queue.make_worker_log(NAME)
    yield log
    log.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let so much time pass that the log looks at its file again."""
    now = [clock.monotonic()]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def pass_time() -> None:
        now[0] += log_file.SECONDS_BETWEEN_LOOKS

    return pass_time


@pytest.fixture
def path(root: Path) -> Path:
    return root / "workers" / f"{NAME}.log"


def test_logging_writes_lines_to_it(log: WorkerLog, path: Path) -> None:
    handler = logging.StreamHandler(log)
    for text in ("one", "tw\udcffo"):  # a name that is not UTF-8
        handler.emit(logging.makeLogRecord({"msg": text}))

    assert path.read_text() == "one\ntw\\udcffo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_log_is_renamed_over_an_older_one(
    log: WorkerLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 100)
    for number in range(12):
        log.write(f"{number:039}\n")

    assert [int(line) for line in path.read_text().split()] == [10, 11]
    assert [int(line) for line in path.with_name(f"{NAME}.log.1").read_text().split()] == [8, 9]
    assert len([*path.parent.iterdir()]) == 2


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_log_that_lost_its_name_is_made_again(
    log: WorkerLog, path: Path, later: Callable[[], None], how: str
) -> None:
    log.write("before\n")
    path.unlink() if how == "removed" else path.rename(path.with_name("rotated"))
    if how == "replaced":
        path.write_text("by logrotate's create\n")

    later()
    log.write("after\n")

    assert path.read_text().split("\n")[-2] == "after"
    if how != "removed":
        assert path.with_name("rotated").read_text() == "before\n"


def test_a_log_that_somebody_empties_is_not_full_too_early(
    log: WorkerLog, path: Path, later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 100)
    log.write("x" * 90)
    os.truncate(path, 0)

    later()
    log.write("y" * 90)

    assert path.read_text() == "y" * 90
    assert not path.with_name(f"{NAME}.log.1").exists()


@pytest.mark.parametrize("moment", ["at the start", "after it was moved away"])
def test_a_link_in_its_place_is_not_written_through(
    queue: Queue, log: WorkerLog, path: Path, tmp_path: Path, later: Callable[[], None], moment: str
) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    path.rename(path.with_name("rotated"))
    path.symlink_to(victim)

    later()
    with pytest.raises(OSError, match="symbolic links"):
        queue.make_worker_log(NAME) if moment == "at the start" else log.write("secret\n")

    assert victim.read_text() == ""


def test_its_files_belong_in_a_spool_and_go_when_the_worker_has_left(
    queue: Queue,
    root: Path,
    log: WorkerLog,
    path: Path,
    drain: Callable[..., Any],
    let_pass: Callable[[float], None],
) -> None:
    old = path.with_name(f"{NAME}.log.1")
    old.touch(mode=0o600)
    assert integrity.check(queue.spool, repair=False) == []
    let_pass(37)

    drain(queue)

    assert [*(root / "workers").iterdir()] == []

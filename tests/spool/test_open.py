"""Opening a spool: made on first use, private, and never mistaken."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.spool_files import DIRECTORIES

from queuectl import Queue
from queuectl.errors import InvalidSetting, SpoolUnusable
from queuectl.spool.spool import open_spool


def test_a_spool_is_made_on_first_use(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "deep" / "spool")
    assert {path.name for path in Path(queue.path).iterdir()} == {*DIRECTORIES, "queue.toml"}


def test_opening_a_spool_again_changes_nothing(queue: Queue, bytes_of: Callable[[], Any]) -> None:
    queue.enqueue("true", id="a")
    before = bytes_of()
    Queue(queue.path)
    assert bytes_of() == before


@pytest.mark.parametrize("missing", sorted({*DIRECTORIES} - {"pending"}))
def test_a_directory_that_somebody_removed_is_made_again(root: Path, missing: str) -> None:
    (root / missing).rmdir()
    Queue(root)
    assert (root / missing).is_dir()


def test_a_spool_that_is_not_there_is_refused_if_it_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match="no spool"):
        Queue(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(SpoolUnusable, match="not empty"):
        Queue(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_file_in_the_place_of_the_spool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match="not a directory"):
        Queue(tmp_path / "file")


def test_a_spool_of_a_newer_format_is_refused(root: Path) -> None:
    (root / "queue.toml").write_text("format = 2\n")
    with pytest.raises(SpoolUnusable, match="of format 2; this queuectl knows format 1"):
        Queue(root)


@pytest.mark.parametrize("text", ["max_retries = -1", "max_retrys = 3", "max_retries = ", "\0"])
def test_a_spool_with_broken_settings_opens_and_is_durable(root: Path, text: str) -> None:
    (root / "queue.toml").write_text(f"fsync = false\n{text}")
    queue = Queue(root)
    assert queue.get(queue.enqueue("true")).state == "pending"
    assert queue.spool.disk.sync
    with pytest.raises(InvalidSetting, match=r"queue\.toml: (line 2|at the end)"):
        _ = queue.settings


def test_a_spool_without_settings_has_the_defaults(root: Path) -> None:
    (root / "queue.toml").unlink()
    assert Queue(root).settings.max_retries == 3


def test_a_crash_while_a_spool_is_made_leaves_one_that_opens(
    tmp_path: Path, crash: Callable[..., bool]
) -> None:
    before, crashed = 0, True
    while crashed:
        before += 1
        path = str(tmp_path / str(before))
        crashed = crash(lambda path=path: open_spool(path, create=True), before)
        assert Queue(path).enqueue("true", id="a") == "a"
    assert before > len(DIRECTORIES)


def test_many_who_make_one_spool_at_once_all_open_it(
    tmp_path: Path, at_once: Callable[..., list[Any]]
) -> None:
    for number in range(5):
        path = str(tmp_path / f"spool{number}")
        assert at_once(_enqueue, [(path, f"job{n}") for n in range(8)]) == [
            f"job{n}" for n in range(8)
        ]


def _enqueue(path: str, job_id: str) -> str:
    return Queue(path).enqueue("true", id=job_id)


def _modes(root: Path) -> dict[str, int]:
    paths = [root, *root.rglob("*")]
    modes = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # a job is running meanwhile
            modes[str(path.relative_to(root))] = stat.S_IMODE(path.stat().st_mode)
    return modes


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(
    ("granted", "directory_mode", "file_mode"),
    [(0o700, 0o700, 0o600), (0o770, 0o770, 0o660), (0o750, 0o750, 0o640), (0o2770, 0o2770, 0o660)],
    ids=oct,
)
def test_modes_are_what_the_spool_grants_whatever_the_umask(
    tmp_path: Path,
    work: Callable[..., Any],
    eventually: Callable[..., Any],
    umask: int,
    granted: int,
    directory_mode: int,
    file_mode: int,
) -> None:
    root = tmp_path / "spool"
    if granted != 0o700:
        root.mkdir()
        root.chmod(granted)
    os.umask(umask)
    queue = Queue(root)
    queue.set_setting("max_retries", "0")
    (root / "pending" / "bad.json").write_text("[]")
    (root / "pending" / "bad.json").chmod(file_mode)
    queue.set_setting("quiet_period", "0")
    queue.enqueue("exit 3", id="dead")
    queue.enqueue("sleep 1000", id="running")

    def look(worker: Any) -> None:
        eventually(lambda: queue.spool.reader.counts()["dead"] == 2)
        eventually(lambda: queue.get("running").pid)
        found.update(_modes(root))
        worker.stop_now()

    found: dict[str, int] = {}
    work(queue, look)
    found = {name: mode for name, mode in found.items() if not name.startswith("tmp/")}
    wrong = {
        name: oct(mode)
        for name, mode in found.items()
        if mode != (directory_mode if (root / name).is_dir() else file_mode)
        and not name.startswith("processing/")
    }
    assert not wrong

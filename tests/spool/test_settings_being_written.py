"""A settings file that somebody is just writing: the last good settings hold, not the defaults."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import Queue, clock
from queuectl.errors import InvalidSetting
from queuectl.record.settings import Settings
from queuectl.spool import settings_file
from queuectl.worker.worker import Worker

WHOLE = "max_retries = 8\nbackoff_base = 5\n"
NOT_READY = ["", "\n", "max_retries = 8\nbackoff_ba", "\0\0"]

each_half = pytest.mark.parametrize("half", NOT_READY)
just_written = pytest.mark.usefixtures("just_now")


@pytest.fixture
def path(queue: Queue) -> Path:
    path = Path(queue.settings_path)
    path.write_text(WHOLE)
    assert queue.settings.max_retries == 8
    return path


@pytest.fixture
def just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file be as it is since this moment, however slow the machine is."""
    now = time.time()
    monkeypatch.setattr(clock, "now", lambda: now)


@pytest.fixture
def make_quiet(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let every file be as it is for an hour."""
    return lambda: monkeypatch.setattr(clock, "now", lambda: time.time() + 3600)


@pytest.fixture
def at_next_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something while a reader waits for the file."""

    def arrange(action: Callable[[], object]) -> None:
        monkeypatch.setattr("queuectl.spool.settings_file.time.sleep", lambda _: action())

    return arrange


@each_half
@just_written
def test_the_last_good_settings_hold(queue: Queue, path: Path, half: str) -> None:
    queue.spool.settings._known = settings_file._Known(Settings(max_retries=8))
    path.write_text(half)
    assert queue.settings.max_retries == 8
    path.write_text("max_retries = 9\n")
    assert queue.settings.max_retries == 9


@just_written
def test_what_is_open_for_writing_is_not_ready_though_it_is_valid(queue: Queue, path: Path) -> None:
    with path.open("w") as file:
        file.write("max_retries = 1")
        file.flush()
        assert queue.settings.max_retries == 8
        file.write("2\n")
    assert queue.settings.max_retries == 12


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_that_is_quiet_means_the_defaults(
    queue: Queue, path: Path, make_quiet: Callable[[], None], text: str
) -> None:
    path.write_text(text)
    make_quiet()
    assert queue.settings == Queue(queue.path).settings == Settings()
    queue.set_setting("max_retries", "4")
    assert path.read_text().strip() == "max_retries = 4"


def test_where_a_clock_is_ahead_a_file_is_quiet_when_it_was_seen_so(
    queue: Queue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(clock, "now", lambda: time.time() - 3600)
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    path.write_text("")
    assert queue.settings.max_retries == 8
    now[0] = 2.0
    assert queue.settings == Settings()


def test_a_broken_file_that_is_quiet_is_an_error_at_every_look(
    queue: Queue, path: Path, make_quiet: Callable[[], None]
) -> None:
    path.write_text("max_retries = \n")
    make_quiet()
    for _ in range(3):
        with pytest.raises(InvalidSetting, match=r"queue\.toml: line 1"):
            _ = queue.settings
    assert queue.spool.settings.last_good.max_retries == 8


def test_a_wrong_value_is_an_error_at_every_look_that_names_its_line(
    queue: Queue, path: Path
) -> None:
    path.write_text('# mine\non_done = "true"\n\nmax_retries = -1\n')
    for _ in range(3):
        with pytest.raises(InvalidSetting, match=r"queue\.toml: line 4: max_retries must be"):
            _ = queue.settings
    assert queue.spool.settings.last_good.max_retries == 8


@pytest.mark.parametrize(
    ("text", "line"),
    [("\n[max_retrys]\nx = 1\n", 2), ('a = "b"\n', 1), ('\n\n"a b" = 1\n', 3), ("\nx.y = 1\n", 2)],
)
def test_an_unknown_key_is_named_with_its_line(
    queue: Queue, path: Path, text: str, line: int
) -> None:
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=rf"queue\.toml: line {line}: unknown setting"):
        _ = queue.settings


def test_a_worker_reports_a_broken_file_once(
    queue: Queue, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("max_retries = -1\n", "max_retries = -2\n"):
        path.write_text(text)
        for _ in range(3):
            queue.spool.refresh_settings()
    assert [record.message.rpartition(" ")[2] for record in caplog.records] == ["-1", "-2"]


@each_half
@just_written
def test_the_first_reader_waits_until_the_file_is_whole(
    queue: Queue, path: Path, at_next_look: Callable[..., None], half: str
) -> None:
    path.write_text(half)
    at_next_look(lambda: path.write_text(WHOLE))
    assert Queue(queue.path).settings.max_retries == 8


@each_half
@just_written
def test_a_worker_does_not_start_by_the_defaults(
    queue: Queue, root: Path, path: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    path.write_text(half)
    monkeypatch.setattr(settings_file, "PATIENCE", 0.0)
    with pytest.raises(InvalidSetting, match=r"somebody is writing it"):
        Worker(Queue(queue.path).spool, 1)
    assert not [*(root / "workers").iterdir()]


@each_half
@just_written
def test_an_edit_waits_and_loses_no_other_setting(
    queue: Queue, path: Path, at_next_look: Callable[..., None], half: str
) -> None:
    path.write_text(half)
    at_next_look(lambda: path.write_text(WHOLE))
    queue.set_setting("timeout", "7")
    assert path.read_text() == f"{WHOLE}timeout = 7\n"


@each_half
@just_written
def test_an_edit_of_a_file_that_stays_half_is_refused(
    queue: Queue, path: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    path.write_text(half)
    monkeypatch.setattr(settings_file, "PATIENCE", 0.0)
    with pytest.raises(InvalidSetting, match="somebody is writing it"):
        queue.set_setting("timeout", "7")
    assert path.read_text() == half


def test_a_change_that_keeps_size_and_time_is_seen(
    queue: Queue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: time.time() + 1)
    assert queue.settings.max_retries == 8
    before = path.stat()
    path.write_text(WHOLE.replace("8", "9"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert queue.settings.max_retries == 9


def test_two_changes_within_one_tick_of_the_clock_are_both_seen(
    queue: Queue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_file, "_version", lambda _: (1,))  # a clock that has not ticked
    monkeypatch.setattr(clock, "now", lambda: path.stat().st_ctime)
    for number in (1, 2, 3):
        path.write_text(f"max_retries = {number}\n")
        assert queue.settings.max_retries == number


def test_an_error_of_the_disk_is_not_remembered(
    queue: Queue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    path.write_text("max_retries = 9\n")
    with monkeypatch.context() as patch:
        patch.setattr(settings_file, "read_regular", fail)
        with pytest.raises(OSError, match="timed out"):
            _ = queue.settings
        assert queue.spool.settings.last_good.max_retries == 8
    assert queue.settings.max_retries == 9


def test_a_worker_goes_on_with_its_settings_while_the_file_is_written(
    queue: Queue,
    path: Path,
    work: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.write_text("max_retries = 2\nbackoff_base = 0\nquiet_period = 60\n")

    def write(worker: Worker) -> None:
        queue.wait([queue.enqueue("true")], timeout=20)  # its settings are read
        path.write_text("")
        job = queue.enqueue("exit 1")
        queue.wait([job], timeout=20)
        assert len(queue.get(job).job.history) == 3
        worker.stop()

    with caplog.at_level(logging.ERROR):
        work(queue, write)
    assert caplog.records == []

"""Settings on disk: typed, locked, and with their comments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.disk.locks import is_locked
from queuectl.errors import InvalidSetting, SpoolUnusable
from queuectl.record import settings
from queuectl.spool.settings_file import SettingsFile

KEYS = ["max_retries", "backoff_max", "timeout", "kill_grace", "quiet_period", "keep_done"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max_retries", "7", 7),
        ("backoff_base", "1.5", 1.5),
        ("timeout", "10m", 600),
        ("timeout", '"10m"', 600),
        ("fsync", "false", False),
        ("keep_done", "7d", 604800),
        ("keep_done_count", "500", 500),
        ("on_done", "true", "true"),
        (
            "on_dead",
            '"/opt/my hook" --at "$QUEUECTL_JOB_ID"',
            '"/opt/my hook" --at "$QUEUECTL_JOB_ID"',
        ),
        ("on_idle", '"/opt/my hook"', '"/opt/my hook"'),
        ("on_idle", "7", "7"),
        ("on_idle", "echo 'a\\n'\nb", "echo 'a\\n'\nb"),
    ],
)
def test_a_setting_that_is_set_holds_for_all(queue: Queue, key: str, text: str, value: Any) -> None:
    queue.set_setting(key, text)
    assert getattr(Queue(queue.path).settings, key) == value
    assert getattr(queue.settings, key) == value


def test_a_setting_that_is_unset_has_its_default(queue: Queue) -> None:
    queue.set_setting("max_retries", "7")
    queue.unset_setting("max_retries")
    assert queue.settings.max_retries == 3


def test_comments_and_order_are_kept(queue: Queue, root: Path) -> None:
    text = "# mine\nformat = 1\n\nmax_retries = 1  # few\n# between\ntimeout = 5\n"
    (root / "queue.toml").write_text(text)
    queue.set_setting("max_retries", "2")
    assert (root / "queue.toml").read_text() == text.replace("= 1  #", "= 2  #")


@pytest.mark.parametrize(
    ("key", "text"),
    [("max_retries", "-1"), ("max_retrys", "1"), ("fsync", "maybe"), ("timeout", "0"),
     ("max_retries", "3\nfsync = false")],
)  # fmt: skip
def test_a_bad_setting_leaves_the_file_as_it_is(
    queue: Queue, root: Path, key: str, text: str
) -> None:
    before = (root / "queue.toml").read_bytes()
    with pytest.raises(InvalidSetting):
        queue.set_setting(key, text)
    assert (root / "queue.toml").read_bytes() == before


def test_of_eight_who_set_settings_at_once_none_is_lost(
    queue: Queue, at_once: Callable[..., list[Any]]
) -> None:
    arguments = [(queue.path, KEYS[number % len(KEYS)], number) for number in range(8)]
    at_once(_set_many, arguments)
    settings = queue.settings
    last = {key: {number for _, other, number in arguments if other == key} for key in KEYS}
    for key in KEYS:
        assert getattr(settings, key) in {100 + number for number in last[key]}


def _set_many(path: str, key: str, number: int) -> None:
    queue = Queue(path)
    for value in [*range(1, 6), 100 + number]:
        queue.set_setting(key, str(value))


@pytest.mark.parametrize("text", ["format = 2\n", "format = 1\nmax_retries = \n"])
def test_a_file_that_is_not_ours_to_rewrite_is_left_as_it_is(
    queue: Queue, root: Path, text: str
) -> None:
    (root / "queue.toml").write_text(text)
    with pytest.raises((SpoolUnusable, InvalidSetting)):
        queue.set_setting("max_retries", "1")
    assert (root / "queue.toml").read_text() == text


def test_an_edit_by_hand_is_seen(queue: Queue, root: Path) -> None:
    (root / "queue.toml").write_text("max_retries = 8\n")
    assert queue.settings.max_retries == 8


def test_a_spool_whose_settings_have_become_invalid_can_be_set_right(
    queue: Queue, root: Path
) -> None:
    (root / "queue.toml").write_text("max_retries = -1\n")
    queue.set_setting("max_retries", "1")
    assert Queue(root).settings.max_retries == 1


def test_a_disk_that_is_full_leaves_the_settings_as_they_are(
    queue: Queue, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    before = (root / "queue.toml").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space"):
            queue.set_setting("max_retries", "1")
    assert (root / "queue.toml").read_bytes() == before
    assert not [*(root / "tmp").iterdir()]


def test_every_setting_can_be_set_to_its_default(queue: Queue) -> None:
    for info in settings.describe().values():
        if info.default is not None:
            queue.set_setting(info.name, str(info.default).lower())
    assert queue.settings == settings.Settings()


def test_a_setting_is_read_and_written_under_one_lock(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    read, write = SettingsFile._look, queue.spool.disk.overwrite

    def watched(step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def then(*args: Any, **options: Any) -> Any:
            locked = is_locked(queue.spool.layout.settings_lock)
            steps.append(f"{step}, {'locked' if locked else 'free'}")
            return call(*args, **options)

        return then

    monkeypatch.setattr(SettingsFile, "_look", watched("read", read))
    monkeypatch.setattr(queue.spool.disk, "overwrite", watched("write", write))
    queue.set_setting("max_retries", "7")
    assert {*steps[: steps.index("write, locked") + 1]} == {"read, locked", "write, locked"}

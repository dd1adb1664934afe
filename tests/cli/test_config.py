"""`config`: settings are read, set, refused and unset; comments in the file stay."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from helpers.commands import Eventually, Queuectl, Spool, StartWorker

DEFAULTS = {
    "max_retries": 3,
    "backoff_base": 2,
    "backoff_max": 86400,
    "backoff_jitter": 0,
    "timeout": None,
    "output_max": None,
    "kill_grace": 10,
    "rescan_interval": 5,
    "quiet_period": 2,
    "fsync": True,
    "keep_done": None,
    "keep_dead": None,
    "keep_done_count": None,
    "keep_dead_count": None,
    "on_done": None,
    "on_dead": None,
    "on_idle": None,
    "hook_timeout": 60,
}


@pytest.fixture(autouse=True)
def _spool(queuectl: Queuectl) -> None:
    queuectl("enqueue", "true")


def test_all_are_listed_as_json(queuectl: Queuectl) -> None:
    assert queuectl.json("config", "list") == DEFAULTS


def test_all_are_listed_as_text(queuectl: Queuectl) -> None:
    _, *rows = queuectl("config", "list").out.splitlines()
    assert [row.split()[0] for row in rows] == list(DEFAULTS)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max_retries", "0", "0"),
        ("backoff_base", "1.5", "1.5"),
        ("backoff_max", "1h", "1h"),
        ("timeout", "10m", "10m"),
        ("fsync", "false", "false"),
        ("keep_done", "7d", "7d"),
    ],
)
def test_what_is_set_reads_back_and_stands_in_the_file(
    queuectl: Queuectl, spool: Spool, key: str, text: str, value: str
) -> None:
    queuectl("config", "set", key, text)
    assert queuectl("config", "get", key).out == f"{value}\n"
    assert key in tomllib.loads((spool.root / "queue.toml").read_text())


@pytest.mark.parametrize(
    ("key", "text", "hint"),
    [
        ("max_retry", "1", "max_retries"),
        ("max_retries", "-1", "0"),
        ("max_retries", "many", "whole number"),
        ("backoff_base", "-2", "0"),
        ("backoff_jitter", "2", "1"),
        ("timeout", "0", "greater than 0"),
        ("timeout", "soon", "duration"),
        ("fsync", "maybe", "true or false"),
        ("rescan_interval", "0", "0.1"),
    ],
)
def test_a_bad_key_or_value_is_refused_with_what_would_do(
    queuectl: Queuectl, spool: Spool, key: str, text: str, hint: str
) -> None:
    before = (spool.root / "queue.toml").read_text()
    assert hint in queuectl.error("config", "set", key, text)
    assert (spool.root / "queue.toml").read_text() == before


def test_unset_goes_back_to_the_default(queuectl: Queuectl) -> None:
    queuectl("config", "set", "max_retries", "9")
    queuectl("config", "unset", "max_retries")
    assert queuectl("config", "get", "max_retries").out == "3\n"


def test_comments_stay(queuectl: Queuectl, spool: Spool) -> None:
    file = spool.root / "queue.toml"
    file.write_text("# mine\nmax_retries = 2  # because\n")
    queuectl("config", "set", "timeout", "5")
    assert file.read_text().startswith("# mine\nmax_retries = 2  # because\n")


def test_of_ten_changes_at_the_same_time_none_is_lost(queuectl: Queuectl) -> None:
    values = {
        "max_retries": "7", "backoff_base": "4", "backoff_max": "50", "backoff_jitter": "0.5",
        "timeout": "70", "kill_grace": "3", "rescan_interval": "9", "quiet_period": "1",
        "keep_done": "80", "keep_dead": "90",
    }  # fmt: skip
    changes = [queuectl.start("config", "set", *pair) for pair in values.items()]
    assert [change.communicate(timeout=60) and change.returncode for change in changes] == [0] * 10
    found = queuectl.json("config", "list")
    assert {key: f"{found[key]:g}" for key in values} == values


def test_a_broken_file_is_told_and_not_overwritten(queuectl: Queuectl, spool: Spool) -> None:
    (spool.root / "queue.toml").write_text("max_retries = = 3\n")
    assert "queue.toml" in queuectl.error("config", "set", "timeout", "5")
    assert (spool.root / "queue.toml").read_text() == "max_retries = = 3\n"


def test_a_worker_keeps_its_settings_while_the_file_is_broken(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    process = worker()
    (spool.root / "queue.toml").write_text("max_retries = = 3\n")
    spool.drop("a.json")
    eventually(lambda: spool.is_in("completed", "a"))
    eventually(lambda: "keeping the last valid settings" in process.said)


class TestEdit:
    def edit(self, queuectl: Queuectl, script: str, **options: Any) -> Any:
        return queuectl("config", "edit", EDITOR=f"sh -c '{script}' sh", **options)

    def test_a_valid_text_is_used(self, queuectl: Queuectl) -> None:
        self.edit(queuectl, 'echo "max_retries = 7 # ours" >> "$1"')
        assert queuectl("config", "get", "max_retries").out == "7\n"

    @pytest.mark.parametrize("line", ["max_retries = -1", "max_retrys = 1", "max_retries ="])
    def test_an_invalid_one_is_not(self, queuectl: Queuectl, spool: Spool, line: str) -> None:
        queuectl("init")
        before = (spool.root / "queue.toml").read_text()
        said = self.edit(queuectl, f'echo "{line}" >> "$1"', code=2).err
        assert said.startswith("queuectl: error: ")
        assert (spool.root / "queue.toml").read_text() == before

    def test_no_change_is_none(self, queuectl: Queuectl) -> None:
        assert self.edit(queuectl, ":").err == "nothing is changed\n"

    def test_an_editor_that_fails_changes_nothing(self, queuectl: Queuectl, spool: Spool) -> None:
        said = self.edit(queuectl, 'echo "max_retries = 7" >> "$1"; exit 3', code=1).err
        assert "exited with 3" in said
        assert queuectl("config", "get", "max_retries").out == "3\n"

    def test_a_change_that_somebody_else_made_meanwhile_is_kept(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl("init")
        script = f'echo "timeout = 5" >> {spool.root}/queue.toml; echo "max_retries = 7" >> "$1"'
        assert "changed meanwhile" in self.edit(queuectl, script, code=2).err
        assert queuectl("config", "get", "timeout").out == "5\n"

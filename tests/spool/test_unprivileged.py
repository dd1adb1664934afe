"""Where modes decide what may be read and written: as a user who is not root."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.unprivileged import Unprivileged


@pytest.fixture
def spool(nobody: Unprivileged) -> Path:
    nobody.queuectl("config", "set", "quiet_period", "0.1", check=True)
    return nobody.spool


def _listed(nobody: Unprivileged, *words: str) -> dict[str, Any]:
    found = json.loads(nobody.queuectl("list", "--json", *words, check=True).stdout)
    return {job["id"]: job for job in found}


def test_a_whole_drain(nobody: Unprivileged, spool: Path) -> None:
    for command in ("id -u", "exit 1"):
        nobody.queuectl("enqueue", "--max-retries", "0", "--id", command[:2], command, check=True)
    done = nobody.queuectl("worker", "start", "--drain", "--count", "2", check=True)
    assert {id_: job["state"] for id_, job in _listed(nobody).items()} == {
        "id": "completed",
        "ex": "dead",
    }
    assert nobody.queuectl("logs", "id").stdout == f"{nobody.uid}\n"
    assert "Traceback" not in done.stderr
    assert {path.stat().st_uid for path in spool.rglob("*")} == {nobody.uid}
    assert nobody.queuectl("check").returncode == 0


def test_a_file_that_cannot_be_read_is_dead_and_the_others_run(
    nobody: Unprivileged, spool: Path
) -> None:
    nobody.drop("unreadable.json", '{"command": "true"}', mode=0)
    nobody.drop("good.json", '{"command": "true"}')
    nobody.queuectl("worker", "start", "--drain", check=True)
    found = _listed(nobody)
    assert {id_: job["state"] for id_, job in found.items()} == {
        "unreadable": "dead",
        "good": "completed",
    }
    assert "Permission denied" in nobody.queuectl("dlq", "list").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_run(nobody: Unprivileged, spool: Path) -> None:
    os.chown(nobody.drop("theirs.json", '{"command": "true"}', mode=0o644), 4711, 4711)
    nobody.queuectl("worker", "start", "--drain", check=True)
    assert _listed(nobody)["theirs"]["state"] == "dead"
    assert "4711" in nobody.queuectl("dlq", "list").stdout


@pytest.mark.parametrize("directory", ["pending", "tmp", "workers"])
def test_a_directory_that_may_not_be_written_is_told(
    nobody: Unprivileged, spool: Path, directory: str
) -> None:
    (spool / directory).chmod(0o500)
    words = ("worker", "start", "--drain") if directory == "workers" else ("enqueue", "true")
    refused = nobody.queuectl(*words)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert str(spool) in refused.stderr
    assert "Permission denied" in refused.stderr
    assert _listed(nobody) == {}


def test_a_spool_that_may_not_be_entered_is_named(nobody: Unprivileged, spool: Path) -> None:
    spool.chmod(0)
    refused = nobody.queuectl("list")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert str(spool) in refused.stderr
    assert "Traceback" not in refused.stderr

"""`queuectl health` in real processes: each thing that may be wrong is made wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker


@pytest.fixture
def reasons(queuectl: Queuectl) -> Callable[..., str]:
    """Ask for the reasons; assert that text, JSON and exit code agree."""

    def ask(*words: str, **environment: str) -> str:
        text = queuectl("health", *words, code=None, env=environment)
        shown = queuectl("health", *words, "--json", code=text.code, env=environment)
        document = json.loads(shown.out)
        assert document["healthy"] is (text.code == 0) is (text.out == "")
        checks = [found["check"] for found in document["reasons"]]
        assert [line.partition(": ")[0] for line in text.out.splitlines()] == checks
        return text.out

    return ask


def test_a_new_queue_is_healthy_and_cron_has_nothing_to_send(
    queuectl: Queuectl, settings: Configure
) -> None:
    settings()
    result = queuectl("health")
    assert (result.out, result.err) == ("", "")


def test_jobs_are_due_and_no_worker_is_running(
    queuectl: Queuectl, settings: Configure, reasons: Callable[..., str], worker: StartWorker
) -> None:
    settings()
    queuectl("enqueue", "--id", "a", "sleep 300")
    assert reasons().startswith("workers: no worker is running, but jobs are due (the oldest for ")
    worker()
    assert reasons() == ""


def test_a_dead_worker_has_claimed_a_job(
    queuectl: Queuectl,
    settings: Configure,
    spool: Spool,
    reasons: Callable[..., str],
    worker: StartWorker,
    eventually: Eventually,
) -> None:
    settings()
    process = worker()
    queuectl("enqueue", "--id", "a", "sleep 300")
    eventually(lambda: spool.is_in("processing", "a"))
    process.process.kill()
    process.left()
    assert reasons() == "workers: no worker is running, but 1 job is claimed by dead workers\n"


def test_the_oldest_job_is_due_for_too_long(
    queuectl: Queuectl,
    settings: Configure,
    spool: Spool,
    reasons: Callable[..., str],
    worker: StartWorker,
) -> None:
    settings()
    worker()
    queuectl("enqueue", "--id", "busy", "sleep 300")
    queuectl("enqueue", "--id", "old", "true")
    os.utime(spool.root / "pending/old.json", (1, 1_000_000_000))
    assert reasons() == ""
    assert reasons("--max-age", "1h").startswith("age: the oldest job has been due for ")


def test_too_many_are_dead(
    queuectl: Queuectl, settings: Configure, reasons: Callable[..., str]
) -> None:
    settings()
    for job_id in "ab":
        queuectl("enqueue", "--id", job_id, "true")
    queuectl("cancel", "a", "b")
    assert reasons("--max-dead", "2") == ""
    assert reasons("--max-dead", "1") == "dead: 2 dead jobs, more than 1\n"


@pytest.mark.parametrize("least", ["100%", "1000000T"])
def test_the_disk_is_nearly_full(
    queuectl: Queuectl, settings: Configure, reasons: Callable[..., str], least: Any
) -> None:
    settings()
    assert "free on the disk, less than " in reasons("--min-free", least)


def fill(disk: Any, check: Any) -> None:
    if check == "disk":
        (disk / "filler").write_bytes(b"x" * 2**20)
    else:
        for number in range(100):
            (disk / str(number)).touch()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.parametrize(
    ("size", "inodes", "check"), [("1m", "0", "disk"), ("64m", "60", "inodes")], ids=str
)
def test_on_a_disk_that_is_really_full(
    queuectl: Queuectl,
    tmp_path: Path,
    reasons: Callable[..., str],
    size: str,
    inodes: Any,
    check: Any,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={size},nr_inodes={inodes},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)
    try:
        queuectl("enqueue", "--delay", "1h", "true", QUEUECTL_SPOOL=str(disk / "spool"))
        with pytest.raises(OSError, match="No space"):
            fill(disk, check)
        found = reasons(QUEUECTL_SPOOL=str(disk / "spool"))
        assert f"{check}: " in found
    finally:
        subprocess.run(["umount", disk], check=True)


class TestDamage:
    def test_a_directory_is_gone(
        self, queuectl: Queuectl, settings: Configure, spool: Spool, reasons: Callable[..., str]
    ) -> None:
        settings()
        shutil.rmtree(spool.root / "failed")
        assert reasons() == f"spool: {spool.root}/failed is missing\n"
        assert not (spool.root / "failed").exists()

    def test_a_directory_is_a_link(
        self,
        queuectl: Queuectl,
        settings: Configure,
        spool: Spool,
        reasons: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        settings()
        (spool.root / "logs").rmdir()
        (spool.root / "logs").symlink_to(tmp_path)
        assert reasons() == f"spool: {spool.root}/logs is a symbolic link, not a directory\n"

    def test_a_job_is_in_two_states(
        self, queuectl: Queuectl, settings: Configure, spool: Spool, reasons: Callable[..., str]
    ) -> None:
        settings()
        queuectl("enqueue", "--id", "a", "true")
        queuectl("cancel", "a")
        shutil.copy(spool.root / "dead/a.json", spool.root / "done")
        assert reasons() == "spool: 1 job is in two states (a): run `queuectl check` for details\n"

    def test_there_is_no_spool(self, spool: Spool, reasons: Callable[..., str]) -> None:
        assert reasons() == (
            f"spool: there is no spool at {spool.root}: `queuectl enqueue` makes one\n"
        )
        assert not spool.root.exists()

    @pytest.mark.parametrize("text", ["max_retries = ", "max_retrys = 3", "timeout = -1"])
    def test_the_settings_are_broken(
        self,
        queuectl: Queuectl,
        settings: Configure,
        spool: Spool,
        reasons: Callable[..., str],
        text: str,
    ) -> None:
        settings()
        (spool.root / "queue.toml").write_text(text)
        assert reasons().startswith("settings: ")


def test_locks_do_not_work(
    queuectl: Queuectl,
    settings: Configure,
    spool: Spool,
    tmp_path: Path,
    reasons: Callable[..., str],
) -> None:
    """On a file system that lets two have one lock: here, an interpreter that does."""
    settings()
    (tmp_path / "sitecustomize.py").write_text("import fcntl; fcntl.flock = lambda *_: None")
    found = reasons(PYTHONPATH=str(tmp_path))
    assert found.startswith("lock: the file system of ")


@pytest.mark.parametrize("command", ["health", "metrics", "top", "status", "list"])
def test_a_spool_whose_path_is_not_utf8(queuectl: Queuectl, tmp_path: Path, command: str) -> None:
    spool = os.fsdecode(os.fsencode(tmp_path) + b"/not\xffutf8")
    queuectl("enqueue", "true", QUEUECTL_SPOOL=spool)
    shown = queuectl(command, "--json", code=None, QUEUECTL_SPOOL=spool)
    json.loads(shown.out)
    if command in ("top", "status", "list"):
        assert r"/not\\xffutf8" in shown.out


def test_hostile_text_is_spelled_out(
    queuectl: Queuectl, settings: Configure, spool: Spool, reasons: Callable[..., str]
) -> None:
    settings()
    (spool.root / "queue.toml").write_text('"\\u001b[2J" = 1')
    assert "\x1b" not in reasons()


@pytest.mark.parametrize(
    "words",
    [
        ["--max-age", "soon"],
        ["--max-age", "-1"],
        ["--max-dead", "few"],
        ["--max-dead", "-1"],
        ["--min-free", "much"],
        ["--min-free", "101%"],
        ["--min-free", "-5%"],
        ["--min-free", ""],
        ["--min-free", "5 apples"],
        ["now"],
    ],
    ids=" ".join,
)
def test_bad_input_is_refused(queuectl: Queuectl, settings: Configure, words: list[str]) -> None:
    settings()
    queuectl.error("health", *words)


@pytest.mark.parametrize("amount", ["0", "0%", "1", "1k", "1K", "1KB", "1KiB", "1.5M", "1 MB"])
def test_amounts_that_are_understood(queuectl: Queuectl, settings: Configure, amount: Any) -> None:
    settings()
    queuectl("health", "--min-free", amount)

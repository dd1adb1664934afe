"""`queuectl worker unit`: a unit file that starts the queuectl that printed it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import Queuectl, Spool

from queuectl.cli.worker.unit import quoted

KINDS = pytest.mark.parametrize("options", [(), ("--user",)], ids=["system", "user"])


@KINDS
def test_it_starts_the_queuectl_that_printed_it(
    queuectl: Queuectl, options: tuple[str, ...]
) -> None:
    text = queuectl("worker", "unit", *options).out
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert command.startswith(f"{queuectl.program} worker start --count ")


def test_the_system_unit_has_a_user_and_a_spool_of_its_own(queuectl: Queuectl) -> None:
    text = queuectl("worker", "unit").out
    assert "\nUser=queue\n" in text
    assert "\nEnvironment=QUEUECTL_SPOOL=/var/lib/queuectl\n" in text
    assert "WantedBy=multi-user.target" in text


def test_the_unit_of_a_user_has_the_spool_of_the_user(queuectl: Queuectl) -> None:
    text = queuectl("worker", "unit", "--user").out
    assert "QUEUECTL_SPOOL" not in text
    assert "\nUser=" not in text
    assert "WantedBy=default.target" in text


def test_it_makes_no_spool(queuectl: Queuectl, spool: Spool) -> None:
    queuectl("worker", "unit")
    assert not spool.root.exists()


def test_as_a_module_it_starts_the_module(queuectl: Queuectl) -> None:
    words = [sys.executable, "-m", "queuectl", "worker", "unit"]
    done = subprocess.run(
        words, capture_output=True, text=True, env=queuectl.environment, check=True, timeout=60
    )
    assert f"\nExecStart={sys.executable} -P -m queuectl worker start " in done.stdout


@KINDS
def test_systemd_takes_it(queuectl: Queuectl, tmp_path: Path, options: tuple[str, ...]) -> None:
    verify = shutil.which("systemd-analyze")
    if not verify:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "queuectl-worker.service"
    unit.write_text(queuectl("worker", "unit", *options).out)
    manager = ["--user"] if options else []
    done = subprocess.run(
        [verify, *manager, "verify", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert unit.name not in done.stderr


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/usr/bin/queuectl", "/usr/bin/queuectl"),
        ("/opt/100%/queuectl", "/opt/100%%/queuectl"),
        ("/home/a b/queuectl", '"/home/a b/queuectl"'),
        ('/home/"a"/queuectl', '"/home/\\"a\\"/queuectl"'),
    ],
)
def test_a_path_is_quoted_as_systemd_reads_it(word: str, expected: str) -> None:
    assert quoted(word) == expected

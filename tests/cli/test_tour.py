"""The tour in the README works as it is printed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"


def commands_of_the_tour() -> list[str]:
    """Return what follows the prompts between the tour's heading and the next."""
    tour = README.read_text().partition("## A tour")[2].partition("\n## ")[0]
    return [line.removeprefix("$ ") for line in tour.splitlines() if line.startswith("$ ")]


@pytest.fixture
def tour(queuectl, tmp_path):
    """The output of each command, typed one after the other into a shell in a new home."""
    path = f"{queuectl.program.parent}:{os.environ['PATH']}"
    environment = {"HOME": str(queuectl.cwd), "PATH": path, "LANG": "C.UTF-8"}
    outputs = {}
    for command in commands_of_the_tour():
        done = subprocess.run(
            ["sh", "-c", command.replace("/tmp/", f"{tmp_path}/")],
            capture_output=True,
            text=True,
            env=environment,
            cwd=queuectl.cwd,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        outputs[command] = done.stdout + done.stderr
    return outputs


def test_every_command_does_what_the_readme_shows(tour):
    listed = tour["queuectl list"].splitlines()
    assert {tuple(row.split()[:2]) for row in listed[1:]} >= {
        ("flaky", "dead"),
        ("drop", "completed"),
    }
    assert tour["queuectl logs flaky"] == "trying\n"
    assert tour["queuectl dlq retry flaky"] == "flaky pending\n"

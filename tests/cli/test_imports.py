"""What an enqueue imports: it is started so often that each heavy module would be felt."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.commands import Queuectl

HEAVY = ["pydantic", "rich", "watchdog", "asyncio", "filelock", "tomlkit", "logging"]
SCRIPT = """
import json, sys
from queuectl.cli import run
code = run(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["enqueue", "--id", "a", "true"],
        ["enqueue", "--delay", "1m", "--", "true"],
        ["enqueue", "-"],
    ],
    ids=["a command", "a program later", "from stdin"],
)
def test_an_enqueue_imports_nothing_heavy(queuectl: Queuectl, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)],
        input='{"command": "true"}\n',
        capture_output=True,
        text=True,
        env=queuectl.environment,
        cwd=queuectl.cwd,
        check=True,
        timeout=60,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert sorted(set(HEAVY) & set(modules)) == []


@pytest.mark.parametrize(
    "words",
    [["status"], ["list"], ["show", "a"], ["dlq", "list"], ["worker", "list"], ["config", "list"]],
    ids=" ".join,
)
def test_a_look_at_the_queue_imports_nothing_heavy(queuectl: Queuectl, words: list[str]) -> None:
    queuectl("enqueue", "--id", "a", "true")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)],
        capture_output=True,
        text=True,
        env=queuectl.environment,
        check=True,
        timeout=60,
    )
    heavy = set(HEAVY) - {"logging"}
    assert sorted(heavy & set(json.loads(done.stdout.splitlines()[-1])[1])) == []

"""A worker in a pid namespace of its own, as in a container: the pids are small."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.namespaces import FORGET_DISKS, a_namespace_is_made
from helpers.processes import PROGRAM
from helpers.waiting import eventually

from queuectl import Queue

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="a pid namespace needs Linux, root and unshare",
    ),
    pytest.mark.timeout(120),
]

KILLED_WORKER = """
"$QUEUECTL" worker start 2> "$OUT/first" & worker=$!
until test -s "$OUT/ready"; do sleep 0.02; done
until grep -q '"pid": [0-9]' "$QUEUECTL_SPOOL"/processing/*/x.1.run; do sleep 0.02; done
cat "$QUEUECTL_SPOOL"/processing/*/x.1.run > "$OUT/run"
"$QUEUECTL" worker list --json > "$OUT/list"
kill -KILL $worker
wait $worker
exec "$QUEUECTL" worker start --drain 2> "$OUT/second"
"""


def _in_container(queue: Queue, out: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in new namespaces; no disk is unmounted before they have forgotten it."""
    told = {"QUEUECTL": str(PROGRAM), "QUEUECTL_SPOOL": queue.path, "OUT": str(out)}
    script = f'{FORGET_DISKS}; touch "$OUT/alone"; exec "$@"'
    with a_namespace_is_made():
        process = subprocess.Popen(
            [*CONTAINER, "sh", "-c", script, "-", *command],
            env={**os.environ, **told}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        eventually(lambda: (out / "alone").exists() or process.poll() is not None)
    said, complained = process.communicate(timeout=40)
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def test_a_small_pid_is_known_to_people_and_to_recovery(queue: Queue, tmp_path: Path) -> None:
    job = f"test $QUEUECTL_ATTEMPT != 1 || {{ echo $$ > {tmp_path}/ready; exec sleep 1000; }}"
    queue.enqueue(job, id="x", max_retries=1)
    ended = _in_container(queue, tmp_path, "sh", "-c", KILLED_WORKER)
    assert ended.returncode == 0, ended.stderr
    pid = int((tmp_path / "ready").read_text())
    assert pid < 1000
    assert json.loads((tmp_path / "run").read_text())["pid"] == pid
    listed: list[dict[str, Any]] = json.loads((tmp_path / "list").read_text())
    assert [slot["pid"] for worker in listed for slot in worker["running"]] == [pid]
    found = queue.get("x")
    outcomes = [entry.outcome for entry in found.job.history]
    assert (found.state, outcomes) == ("completed", ["lost", "ok"])

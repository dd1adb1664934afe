"""A watch follows another worker's process only where its pid means that process."""

from __future__ import annotations

import os
import subprocess

import msgspec
import pytest

from queuectl import host
from queuectl.record.running import WorkerInfo
from queuectl.spool.watch import Watch


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")
@pytest.mark.parametrize("namespace", ["this", "pid:[1]", ""])
def test_a_worker_of_another_pid_namespace_is_not_followed(namespace: str) -> None:
    other = subprocess.Popen(["true"])
    info = WorkerInfo(
        name="other",
        host=host.hostname(),
        boot_id=host.boot_id(),
        pid_namespace=host.pid_namespace() if namespace == "this" else namespace,
        pid=other.pid,
        slots=1,
        started_at="2026-11-24T08:00:00Z",
    )
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    watch = Watch([])
    try:
        watch.follow(msgspec.json.decode(msgspec.json.encode(info), type=WorkerInfo))
        assert watch.wait(0)[1] is (namespace == "this")
    finally:
        watch.close()
        other.wait()

"""The run file: valid JSON before and after the pid is written over it in place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from queuectl.record import running
from queuectl.record.running import Run

STARTED = Run(attempt=1, slot=1, host="h", boot_id="b", pid=None, started_at="2026-11-24T08:00:00Z")


@pytest.mark.parametrize("pid", [1, 37, 999, 1000, 12345, 4194304])
def test_a_run_file_is_valid_once_any_pid_is_written_over_it(tmp_path: Path, pid: int) -> None:
    path = tmp_path / "a.1.run"
    path.write_bytes(running.content(STARTED))
    with path.open("r+b") as file:
        file.write(running.content(replace(STARTED, pid=pid)))
    assert msgspec.json.decode(path.read_bytes(), type=Run).pid == pid


def test_a_run_file_has_one_length_whatever_the_pid() -> None:
    pids = (None, 1, 37, 4194304)
    assert len({len(running.content(replace(STARTED, pid=pid))) for pid in pids}) == 1

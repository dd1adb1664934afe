"""The benchmark runs from end to end and leaves no figure out; none is judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).with_name("run.py")
OF_EACH_FIGURE = {
    "0 fsyncs a job": {"floor: enqueue", "queuectl: enqueue", "queuectl: run"}
    if shutil.which("strace")
    else {"all"},  # one row, which says that strace is not installed
    "1 enqueue, one at a time": {"floor", "queuectl", "SQLite table", "dirq", "huey, file"},
    "2 enqueue 50 JSON lines": {"floor", "queuectl enqueue -"},
    "3 enqueue as one process": {"python -c 'import typer'", "queuectl enqueue", "nq", "tsp"},
    "4 drain, 2 slots": {"floor", "queuectl", "queuectl, fsync = false", "nq", "tsp"},
    "5 drop to start, idle worker": {"queuectl"},
    "5 drop to start, another slot busy": {"queuectl"},
    "6 backlog of 60 files": {"floor", "queuectl", "queuectl, peak memory"},
    "7 20 jobs scheduled for later": {"queuectl, processor", "queuectl, memory"},
    "8 an empty spool": {"queuectl, processor", "queuectl, memory", "queuectl, wake-ups"},
    "9 50 done, 50 pending": {"queuectl status", "queuectl list --limit 20"},
    "10 2 workers on one spool": {"1 worker, 2 slots", "2 workers, 1 slot each"},
    "11 jobs in done/": {"10 in done/", "100 in done/", "retention meanwhile", "a purge meanwhile"},
}


def test_the_smallest_form_gives_every_figure_or_says_why_not(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    done = subprocess.run(
        [sys.executable, str(BENCH), "--tiny", "--json", str(report)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found: dict[str, set[str]] = {}
    for row in json.loads(report.read_text(encoding="utf-8"))["rows"]:
        assert row["values"] or row["note"], f"{row['figure']}: nothing of {row['contender']}"
        assert f"| {row['contender']} " in done.stdout
        found.setdefault(row["figure"], set()).add(row["contender"])
    missing = {name: rows - found.get(name, set()) for name, rows in OF_EACH_FIGURE.items()}
    assert not any(missing.values()), missing

"""A spool on a disk that will fail, with jobs that tell, on another disk, what became of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from helpers.processes import worker
from helpers.waiting import eventually

from queuectl import Queue

SETTINGS = {"rescan_interval": "0.5", "kill_grace": "0.3", "backoff_base": "0"}


class Bench:
    """A spool on a disk of its own; what its jobs write goes elsewhere."""

    def __init__(self, directory: Path, disk: Path) -> None:
        self._directory = directory
        self._ran, self._go = directory / "ran", directory / "go"
        self.mark = str(self._go)
        self.queue = Queue(disk / "spool")
        self.root = Path(self.queue.path)
        for key, value in SETTINGS.items():
            self.queue.set_setting(key, value)

    def enqueue(self, name: str, **options: Any) -> str:
        """Enqueue a job that tells of its start, and ends once it is let go."""
        return self.queue.enqueue(self._command(name), id=name, **options)

    def drop(self, name: str, pending: Path | None = None) -> None:
        """Put such a job into `pending/` by a rename from beside it, on a disk where it can."""
        staged = (pending or self.root / "pending").with_name("tmp") / name
        if not staged.exists():
            staged.write_text(json.dumps({"command": self._command(name)}))
        staged.rename((pending or self.root / "pending") / f"{name}.json")

    def _command(self, name: str) -> str:
        return f"echo {name} >> {self._ran}; while [ ! -e {self._go} ]; do sleep 0.02; done"

    def let_go(self) -> None:
        """Let the jobs end."""
        self._go.touch()

    @property
    def ran(self) -> Counter[str]:
        """How often each job's command was started."""
        return Counter(self._ran.read_text().split()) if self._ran.exists() else Counter()

    def begun(self, *names: str) -> None:
        """Wait until these jobs run."""
        eventually(lambda: set(names) <= set(self.ran), f"{names} run")

    def is_over(self, *names: str) -> None:
        """Wait until these jobs are completed."""
        done = [self.root / "done" / f"{name}.json" for name in names]
        eventually(lambda: all(path.exists() for path in done), f"{names} are completed")

    def start(self, count: int = 2, *options: str) -> Any:
        """Start a worker."""
        said = self._directory / f"worker-{os.urandom(2).hex()}.err"
        return worker(self.root, said, "--count", str(count), *options)

    def outcomes(self, name: str) -> list[str]:
        """The outcomes in a completed job's history."""
        record = json.loads((self.root / "done" / f"{name}.json").read_bytes())
        return [entry["outcome"] for entry in record["history"]]

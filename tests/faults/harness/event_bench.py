"""A spool that is changed behind its workers' backs, and workers that see few events or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from helpers.processes import worker
from helpers.spool_files import put
from helpers.waiting import eventually

from queuectl import Queue

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "sh", "-c")
SET_LIMIT = 'echo "$0" > /proc/sys/user/max_inotify_%s && exec "$@"'
"""Limits of a user namespace hold for it alone: nobody else's workers lose their watches."""


class Bench:
    """A spool, and the means to change it behind a worker's back."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.go = directory / "go"
        self.queue = Queue(directory / "spool")
        self.root = Path(self.queue.path)
        for key, value in {"rescan_interval": "0.5", "kill_grace": "0.3", **settings}.items():
            self.queue.set_setting(key, value)

    def start(self, *options: str, **more: Any) -> Any:
        """Start a worker."""
        said = self.directory / f"worker-{os.urandom(2).hex()}.err"
        return worker(self.root, said, "--count", "2", *options, **more)

    def start_with_few(self, what: str, limit: int) -> Any:
        """Start a worker that may have only so many inotify `instances`, or `watches`."""
        return self.start(prefix=(*IN_A_NAMESPACE, SET_LIMIT % what, str(limit)))

    def drop(self, name: str, root: Path | None = None, **fields: Any) -> Path:
        """Put a job into `pending/` by a rename."""
        return put(root or self.root, f"{name}.json", json.dumps({"command": "true", **fields}))

    def hanging(self, name: str) -> str:
        """Enqueue a job that runs until it is let go."""
        self.queue.enqueue(f"while [ ! -e {self.go} ]; do sleep 0.02; done", id=name)
        return name

    def runs(self, name: str) -> None:
        """Wait until a job's command runs."""
        eventually(lambda: any(self.root.glob(f"processing/*/{name}.1.run")), f"{name} runs")

    def is_done(self, *names: str) -> None:
        """Wait until these jobs are completed."""
        done = [self.root / "done" / f"{name}.json" for name in names]
        eventually(lambda: all(path.exists() for path in done), f"{names} are completed")

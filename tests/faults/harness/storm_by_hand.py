"""What people do to a spool in a storm: `mv`, `ln`, `touch`, `check --repair`, purge, retention."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from queuectl import Queue
from queuectl.errors import QueuectlError

KEPT = "150"
"""How many completed jobs retention keeps."""
BY_HAND = (
    "running jobs moved", "dead jobs moved", "links made", "files touched", "checks with repair",
)  # fmt: skip
"""The figures of what was done."""


class ByHand:
    """The steps of one storm that a person would take, each on files chosen at random."""

    def __init__(self, queue: Queue, directory: Path, draw: random.Random) -> None:
        self.moved_while_running: set[str] = set()
        self.done: Counter[str] = Counter()
        self._queue, self._draw = queue, draw
        self._root = Path(queue.path)
        self._backups = directory / "backups"
        self._backups.mkdir()
        queue.set_setting("keep_done_count", KEPT)

    @property
    def steps(self) -> list[tuple[int, Callable[[], None]]]:
        """The steps with their weights."""
        return [
            (30, self._move_a_running_job), (12, self._move_a_dead_job), (12, self._link),
            (30, self._touch), (12, self._check), (8, self._purge),
        ]  # fmt: skip

    def _some(self, *patterns: str) -> list[Path]:
        found = [path for pattern in patterns for path in self._root.glob(pattern)]
        return self._draw.sample(found, min(2, len(found)))

    def _move(self, path: Path, target: Path) -> bool:
        """`mv -n`, which overwrites nothing; another may have been faster."""
        done = subprocess.run(["mv", "-n", path, target], capture_output=True, check=False)
        return done.returncode == 0

    def _move_a_running_job(self) -> None:
        """`mv processing/W/x.1.json pending/`: it runs again, once its command has ended."""
        for path in self._some("processing/*/*.json"):
            with contextlib.suppress(OSError, ValueError):
                tag = json.loads(path.read_bytes())["tag"]
                self.moved_while_running.add(tag)
                self.done["running jobs moved"] += self._move(path, self._root / "pending")

    def _move_a_dead_job(self) -> None:
        """`mv dead/x.json pending/`: it is run at least once more."""
        for path in self._some("dead/job-*.json"):
            self.done["dead jobs moved"] += self._move(path, self._root / "pending")

    def _link(self) -> None:
        """`ln` as a backup, outside of the spool: the job has two names from now on."""
        for path in self._some("pending/*.json", "done/*.json", "processing/*/*.json"):
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(path, self._backups / os.urandom(6).hex())
                self.done["links made"] += 1

    def _touch(self) -> None:
        for path in self._some("*/*.json", "processing/*/*"):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
                self.done["files touched"] += 1

    def _check(self) -> None:
        with contextlib.suppress(QueuectlError):
            self._queue.check(repair=True)
            self.done["checks with repair"] += 1

    def _purge(self) -> None:
        with contextlib.suppress(QueuectlError):
            self.done["jobs purged"] += self._queue.purge("completed", older_than=1)

"""A storm over two containers with one host name, each with a worker as its first process.

    python -m faults.harness.container_storm DIRECTORY SEED JOBS SECONDS

It prints the report as JSON. It makes mount namespaces: run it in one that has no disks of others.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from faults.harness.storm import KNOWN_ENDS, Report, Storm
from helpers.processes import WorkerProcess
from helpers.spool_files import STATE_DIRECTORIES
from helpers.waiting import eventually

CONTAINER = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"),
    *("sh", "-c", 'hostname box; exec "$@"', "-"),
)
ENDED_BY_A_SIGNAL = 128  # plus its number: what the first process of a container says of its worker


class Container(WorkerProcess):
    """A worker as the first process of a container; `kill` ends the container."""

    def kill(self) -> None:
        """Kill all of it, once it is there: before that, the end of `unshare` would not end it."""
        eventually(lambda: "started" in self.said or not self.runs, "the container is there")
        super().kill()

    @property
    def first(self) -> int | None:
        """The container's first process; None if it is not there."""
        return next(iter(_children(self.pid)), None)

    @property
    def worker(self) -> int | None:
        """The worker, which the first process has started; None if it is not there."""
        for pid in _children(self.first or self.pid):
            with contextlib.suppress(OSError):
                if b"\0start\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None


class ContainerStorm(Storm):
    """A storm whose workers are containers."""

    known_ends = (
        *KNOWN_ENDS,
        *(ENDED_BY_A_SIGNAL + number for number in (signal.SIGKILL, signal.SIGTERM)),
    )

    def _start(self, *options: str) -> WorkerProcess:
        said = self._directory / f"worker-{len(self._workers)}.err"
        worker = Container(said, *options, root=self.root, prefix=CONTAINER, wait=False)
        self._workers.append(worker)
        self._done["containers started"] += 1
        return worker

    def _signal(self, pid: int | None, number: signal.Signals, what: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, number)
                self._done[what] += 1

    def _stop_or_go(self) -> None:
        """Kill the worker alone: its first process ends, and with it the container."""
        if isinstance(victim := self._victim(), Container):
            self._signal(victim.worker, signal.SIGKILL, "workers killed alone")

    def _ask_to_leave(self) -> None:
        if isinstance(victim := self._victim(), Container) and "started" in victim.said:
            self._signal(victim.first, signal.SIGTERM, "workers asked to leave")

    def run(self) -> Report:
        """Storm, and look for attempts that somebody has killed who had nothing to do with them."""
        report = super().run()
        for job_id, entry in self._entries():
            if entry["outcome"] == "failed" and "signal" in entry:
                report.left_over.append(f"{job_id}: {entry['error']}, and nobody asked for it")
        return report

    def _entries(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for directory in STATE_DIRECTORIES.values():
            for path in (self.root / directory).rglob("*.json"):
                with contextlib.suppress(ValueError, AttributeError):
                    history = json.loads(path.read_bytes()).get("history", [])
                    found += [(path.stem, entry) for entry in history]
        return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def main() -> None:
    """Storm, and print the report."""
    directory, seed, jobs, seconds = sys.argv[1:]
    storm = ContainerStorm(
        Path(directory), seed=int(seed), jobs=int(jobs), workers=2, slots=3, seconds=float(seconds)
    )
    report = storm.run()
    print(json.dumps({"figures": report.figures, "violations": report.violations}))


if __name__ == "__main__":
    main()

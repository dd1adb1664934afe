"""Real processes: workers that are started and killed, and jobs' processes found by their marks.

Whatever a test starts it also ends, one by one and by pid: a worker by the handle of its
process, a job's processes by a mark in their argument vector, which they keep whatever they do
to their session, group, descriptors and environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.waiting import eventually

PROGRAM = Path(sys.executable).with_name("queuectl")


def living(mark: str) -> list[int]:
    """Return the processes that have `mark` in their arguments, zombies and this one apart."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                arguments = Path(f"/proc/{name}/cmdline").read_bytes()
                if mark.encode() in arguments and lives(int(name)):
                    found.append(int(name))
    return found


def lives(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    return False


@contextlib.contextmanager
def none_left(mark: str) -> Iterator[None]:
    """End every process that has `mark` in its arguments when the block is left."""
    try:
        yield
    finally:
        while left := living(mark):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def queuectl(root: Path, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command on a spool."""
    return subprocess.run(
        [PROGRAM, "--spool", root, *args],
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


class WorkerProcess:
    """One `queuectl worker start`, whose stderr goes to a file outside the spool."""

    def __init__(
        self,
        said: Path,
        *options: str,
        root: Path | None = None,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wait: bool = True,
    ) -> None:
        self.said_in = said
        spool: list[str | Path] = ["--spool", root] if root else []
        command: list[str | Path] = [*prefix, PROGRAM, *spool, "worker", "start", *options]
        with said.open("w") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
                env=env, cwd=cwd,
            )  # fmt: skip
        if wait:
            try:
                eventually(lambda: " started: " in self.said or not self.runs, "worker started")
            except AssertionError:
                self.kill()
                raise

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        return self.said_in.read_text(errors="replace")

    @property
    def name(self) -> str:
        """Its name, once it has said that it has started."""
        return self.said.partition("worker ")[2].partition(" started")[0]

    @property
    def cpu_seconds(self) -> float:
        """The processor time it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def complaints(self) -> list[str]:
        """The lines of stderr that tell of trouble with the disk or the spool."""
        signs = ("cannot", "trying again", "No space", "error", "gone", "state:", "jobs:", "watch")
        return [line for line in self.said.splitlines() if any(sign in line for sign in signs)]

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL and reap it; its jobs' processes are left."""
        self.process.kill()
        self.process.wait()

    def left(self, seconds: float = 30.0) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(seconds)


@contextlib.contextmanager
def worker(
    root: Path,
    said: Path,
    *options: str,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    wait: bool = True,
) -> Iterator[WorkerProcess]:
    """Start a worker and end it when the block is left, however that is."""
    environment = {**os.environ, **(env or {})}
    process = WorkerProcess(said, *options, root=root, prefix=prefix, env=environment, wait=wait)
    try:
        yield process
    finally:
        if process.runs:
            process.send(signal.SIGCONT)
            process.kill()

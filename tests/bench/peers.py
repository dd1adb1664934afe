"""The peers, as they install: Debian's nq and task-spooler, and libraries from PyPI.

The libraries go into an environment of the benchmark's own, under the user's cache directory, and
never among the project's dependencies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measure import Unavailable, until
from ours import NOOP, PATIENCE, PYTHON, environment, side

PACKAGES = ("dirq", "huey", "litequeue", "persist-queue")
LIBRARIES = {
    "dirq": "dirq",
    "litequeue": "litequeue",
    "persist-queue, file": "persist-queue",
    "persist-queue, SQLite": "persist-queue",
    "huey, file": "huey",
    "huey, SQLite": "huey",
}
"""Contenders of side.py by the package they come with."""


AT_ONCE = 400
"""Both hold every waiting job in a process of its own, and tsp takes no more than 1,000."""


@dataclass(frozen=True)
class Peers:
    """Where the peers are: the interpreter with the libraries, and why it is not there."""

    python: str
    reason: str
    versions: dict[str, str]

    def interpreter(self, name: str) -> str:
        """The interpreter that runs a contender of side.py. Raises Unavailable."""
        if name not in LIBRARIES:
            return PYTHON
        if self.reason:
            raise Unavailable(self.reason)
        return self.python

    def names(self) -> list[str]:
        """Everyone who can be driven by side.py beside queuectl and the floor."""
        return ["SQLite table", *LIBRARIES]


def installed(*, install: bool) -> Peers:
    """Find the libraries, or install them."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    home = Path(cache) / "queuectl-bench" / "venv"
    python = home / "bin" / "python"
    versions = {tool: _debian(package) for tool, package in (("nq", "nq"), ("tsp", "task-spooler"))}
    if not install:
        return Peers(str(python), "left out of the tiny form", versions)
    try:
        if not python.exists():
            venv.create(home, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *PACKAGES], check=True, capture_output=True, timeout=300)
        listed = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Peers(str(python), f"pip install failed: {error}", versions)
    versions |= dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)
    return Peers(str(python), "", versions)


def _debian(package: str) -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def contender(
    peers: Peers, name: str, operation: str, jobs: int, slots: int = 1
) -> Callable[..., float]:
    """A contender of side.py, in jobs per second."""

    def measure(root: Path) -> float:
        found = side(peers.interpreter(name), name, operation, root, jobs, slots)
        return float(found["jobs"] / found["seconds"])

    return measure


def tool(name: str) -> str:
    """The path of a peer's command. Raises Unavailable."""
    path = shutil.which(name) or (shutil.which("ts") if name == "tsp" else None)
    if path is None:
        package = {"tsp": "task-spooler"}.get(name, name)
        raise Unavailable(f"not installed (apt-get install {package})")
    return path


class Spooler:
    """nq or task-spooler on a directory of its own, with so many slots.

    nq has no slots: as its manual says, one directory is one queue, so there is one for each.
    """

    def __init__(self, name: str, root: Path, slots: int = 1) -> None:
        self.name, self.path, self.root, self.slots = name, tool(name), root, slots
        root.mkdir(parents=True, exist_ok=True)
        self._turn = 0
        if name == "tsp":
            self._call("-S", str(slots))

    def enqueue(self, *command: str, queue: int | None = None) -> None:
        self._turn += 1
        self._call(*command, queue=self._turn % self.slots if queue is None else queue)

    def wait(self) -> None:
        """Wait until everything has run."""
        if self.name == "nq":
            for queue in range(self.slots):
                self._call("-w", queue=queue)
        else:
            until(lambda: not self._waiting(), PATIENCE, pause=0.005)

    def close(self) -> None:
        if self.name == "tsp":
            self._call("-K")

    def _waiting(self) -> bool:
        listed = self._call()
        return "queued" in listed or "running" in listed

    def _call(self, *arguments: str, queue: int = 0) -> str:
        env = environment() | {
            "NQDIR": str(self.root / f"queue-{queue}"),
            "TS_SOCKET": str(self.root / "socket"),
            "TMPDIR": str(self.root),
            "TS_MAXFINISHED": "10",  # or its list of what is over grows, and each poll with it
        }
        try:
            done = subprocess.run(
                [self.path, *arguments],
                env=env,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} did not answer within {PATIENCE:g} s") from None
        if done.returncode != 0:
            raise Unavailable(f"{self.name} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def spooler_drain(name: str, jobs: int, slots: int) -> Callable[[Path], float]:
    """Jobs per second of nq or task-spooler: all are enqueued behind one that waits for a file."""
    jobs = min(jobs, AT_ONCE)

    def measure(root: Path) -> float:
        queue = Spooler(name, root, slots)
        gate = root / "gate"
        for each in range(slots):
            queue.enqueue("sh", "-c", f"until [ -e {gate} ]; do sleep 0.01; done", queue=each)
        for _ in range(jobs):
            queue.enqueue(*NOOP)
        start = time.perf_counter()
        gate.touch()
        try:
            queue.wait()
            return jobs / (time.perf_counter() - start)
        finally:
            queue.close()

    return measure

"""The installed command in real processes: each test has a spool, a home and workers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("queuectl")
DIRECTORIES = {"pending": "pending", "failed": "failed", "completed": "done", "dead": "dead"}
QUICK: dict[str, float] = {"quiet_period": 0.3, "rescan_interval": 0.5, "kill_grace": 1}


def eventually_(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"still not so after {seconds} s: {condition}")
        time.sleep(0.02)
    return value


@dataclass
class Result:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


class Spool:
    """The spool as any program sees it: directories and files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, state: str) -> list[Path]:
        """List the job files of a state."""
        if state == "processing":
            return sorted((self.root / "processing").glob("*/*.json"))
        return sorted((self.root / DIRECTORIES[state]).glob("[!.]*.json"))

    def count(self, state: str) -> int:
        return len(self.files(state))

    def where(self, job_id: str) -> tuple[str, Path] | None:
        """Return the state a job is in, and its file; None in the instant of a move."""
        for state, directory in DIRECTORIES.items():
            path = self.root / directory / f"{job_id}.json"
            if path.exists():
                return state, path
        for path in self.files("processing"):
            if path.stem.rpartition(".")[0] == job_id:
                return "processing", path
        return None

    def is_in(self, state: str, *job_ids: str) -> bool:
        """Whether all these jobs are in a state."""
        return all((place := self.where(j)) and place[0] == state for j in job_ids)

    def record(self, job_id: str) -> dict[str, Any]:
        """Read a job's file, wherever it stands."""
        for _ in range(100):
            if place := self.where(job_id):
                with contextlib.suppress(FileNotFoundError):
                    return dict(json.loads(place[1].read_text()))
        raise AssertionError(f"no job {job_id}")

    def drop(self, name: str, data: str | bytes = '{"command": "true"}') -> Path:
        """Put a file into `pending/` as any program would: rename it in when it is whole."""
        staged = self.root / "tmp" / f"dropped-{os.urandom(4).hex()}"
        staged.write_bytes(data.encode() if isinstance(data, str) else data)
        return staged.rename(self.root / "pending" / name)

    def processes(self) -> list[int]:
        """Return the processes that run with this spool in their environment: ours alone."""
        found, mark = [], f"QUEUECTL_SPOOL={self.root}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found


class Queuectl:
    """The command. Calling it asserts the exit code (None: any) and that there is no traceback."""

    program = PROGRAM

    def __init__(self, environment: dict[str, str], cwd: Path) -> None:
        self.environment = environment
        self.cwd = cwd

    def __call__(
        self,
        *args: str | bytes,
        code: int | None = 0,
        input: str | bytes = b"",  # noqa: A002 - subprocess's word
        cwd: Path | None = None,
        **environment: str,
    ) -> Result:
        done = subprocess.run(
            [PROGRAM, *args],
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            env={**self.environment, **environment},
            cwd=cwd or self.cwd,
            timeout=100,
            check=False,
        )
        result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.err
        assert code in (None, result.code), f"exit {result.code}, expected {code}: {result.err}"
        return result

    def json(self, *args: str, **options: Any) -> Any:
        """Run a command with --json and return the document."""
        return json.loads(self(*args, "--json", **options).out)

    def error(self, *args: str | bytes, code: int | None = 2, **options: Any) -> str:
        """Run a command that must fail, with nothing but one line that says why."""
        result = self(*args, code=code, **options)
        assert result.out == ""
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        assert lines[0].startswith("queuectl: error: ")
        return lines[0].removeprefix("queuectl: error: ")

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [PROGRAM, *args],
            **{**pipes, **options},
            env=self.environment,
            cwd=self.cwd,
            text=True,
        )


class WorkerProcess:
    """One `worker start` in the foreground."""

    def __init__(self, queuectl: Queuectl, args: tuple[str, ...], said: Path) -> None:
        self._said = said
        with said.open("w") as file:
            self.process = queuectl.start(
                "worker", "start", *args, stdout=subprocess.DEVNULL, stderr=file
            )
        if "--quiet" not in args:
            eventually_(lambda: " started: " in self.said or self.process.poll() is not None)
        assert self.process.poll() is None or "--drain" in args, self.said
        self.name = self.said.partition("worker ")[2].partition(" started")[0]

    @property
    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self._said.read_text()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def cpu_seconds(self) -> float:
        """The processor time it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def left(self, seconds: float = 30) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(seconds)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return eventually_


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def queuectl(tmp_path: Path, spool: Spool) -> Iterator[Queuectl]:
    home = tmp_path / "home"
    home.mkdir()
    yield Queuectl(
        {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "QUEUECTL_SPOOL": str(spool.root),
        },
        home,
    )
    if spool.root.exists():  # shown where the test has failed
        print(*sorted(p.relative_to(spool.root) for p in spool.root.rglob("*")), sep="\n")
    for pid in spool.processes():  # what a test left: detached workers, jobs of killed ones
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def settings(queuectl: Queuectl, spool: Spool) -> Callable[..., None]:
    """Make the spool, with values that make tests quick where a test does not say otherwise."""

    def configure(**values: float | str) -> None:
        chosen: dict[str, float | str] = {**QUICK, **values}
        queuectl("config", "set", "quiet_period", str(chosen.pop("quiet_period")))
        with (spool.root / "queue.toml").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in chosen.items())

    return configure


@pytest.fixture
def worker(
    queuectl: Queuectl, settings: Callable[..., None], spool: Spool, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers; at the end of the test they are ended."""
    started: list[WorkerProcess] = []

    def start(*args: str) -> WorkerProcess:
        if not spool.root.exists():
            settings()
        process = WorkerProcess(queuectl, args, tmp_path / f"worker-{len(started)}.err")
        started.append(process)
        return process

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()  # what its jobs leave is ended with the rest of the spool's
        each.left()
        print(each.said)


@pytest.fixture
def processes_with() -> Callable[[str], list[int]]:
    """Return the living processes that have a text in their command line."""

    def find(marker: str) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if marker.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    return find

"""The installed command and the spool as its users see them: calls, files and processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.processes import PROGRAM, WorkerProcess
from helpers.spool_files import STATE_DIRECTORIES, put

Configure = Callable[..., None]
"""The fixture `settings`."""
StartWorker = Callable[..., WorkerProcess]
"""The fixture `worker`."""
Eventually = Callable[..., Any]
"""The fixture `eventually`."""


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
        return sorted((self.root / STATE_DIRECTORIES[state]).glob("[!.]*.json"))

    def count(self, state: str) -> int:
        return len(self.files(state))

    def where(self, job_id: str) -> tuple[str, Path]:
        """Return the state a job is in, and its file."""
        place = self.find(job_id)
        assert place is not None, f"no job {job_id}"
        return place

    def find(self, job_id: str) -> tuple[str, Path] | None:
        """Return the state a job is in, and its file; None in the instant of a move."""
        for state, directory in STATE_DIRECTORIES.items():
            path = self.root / directory / f"{job_id}.json"
            if path.exists():
                return state, path
        for path in self.files("processing"):
            if path.stem.rpartition(".")[0] == job_id:
                return "processing", path
        return None

    def is_in(self, state: str, *job_ids: str) -> bool:
        """Whether all these jobs are in a state."""
        return all((place := self.find(j)) and place[0] == state for j in job_ids)

    def record(self, job_id: str) -> dict[str, Any]:
        """Read a job's file, wherever it stands."""
        for _ in range(100):
            if place := self.find(job_id):
                with contextlib.suppress(FileNotFoundError):
                    return dict(json.loads(place[1].read_text()))
        raise AssertionError(f"no job {job_id}")

    def drop(self, name: str, data: str | bytes = '{"command": "true"}') -> Path:
        """Put a file into `pending/` as any program would: rename it in when it is whole."""
        return put(self.root, name, data)

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
        env: Mapping[str, str] | None = None,
        **environment: str,
    ) -> Result:
        done = subprocess.run(
            [PROGRAM, *args],
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            env={**self.environment, **(env or {}), **environment},
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

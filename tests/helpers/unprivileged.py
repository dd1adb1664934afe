"""Commands as a user without privileges: root, who may do anything, would prove nothing.

Where the tests run as root (in CI), the command runs as `nobody` on a spool of nobody's; elsewhere
the user who runs the tests is such a user.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from helpers.processes import PROGRAM

NOBODY = 65534
PACKAGE = Path(__file__).resolve().parents[2] / "queuectl"
TESTS = Path(__file__).resolve().parents[1]
_LEFT_OUT = shutil.ignore_patterns("test", "tests", "__pycache__", "include", "share", "*.a")


def _is_open(path: Path) -> bool:
    """Whether every user may enter a directory."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _shown(path: Path, name: str, public: Path) -> Path:
    """Return where every user can read a directory: in its place, or linked file by file.

    Nothing is mounted: a mount namespace keeps a copy of every disk that another test has mounted
    just then, and so keeps it from losing its power.
    """
    if _is_open(path):
        return path
    shutil.copytree(path, public / name, copy_function=_link, ignore=_LEFT_OUT, symlinks=True)
    return public / name


@cache
def _command() -> tuple[tuple[str | Path, ...], str]:
    """Make a queuectl that every user may run; return its command and its PYTHONPATH."""
    if all(map(_is_open, (Path(sys.base_prefix), Path(sys.prefix), PACKAGE))):
        return (PROGRAM,), ""
    directory = tempfile.mkdtemp(prefix="queuectl-public-", dir="/tmp")
    atexit.register(shutil.rmtree, directory)
    public = Path(directory)
    public.chmod(0o755)
    base = _shown(Path(sys.base_prefix), "python", public)
    packages = _shown(Path(sysconfig.get_path("purelib")), "packages", public)
    package = _shown(PACKAGE, "project/queuectl", public)
    python = base / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
    return (python, "-m", "queuectl"), os.pathsep.join(map(str, (package.parent, packages)))


@dataclass(frozen=True)
class Unprivileged:
    """A user without privileges, with a directory of his own."""

    home: Path
    uid: int

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    def queuectl(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run queuectl as this user, on this user's spool."""
        command, path = _command()
        return self._run([*command, *words], path, **options)

    def harness(self, module: str, *words: str, prefix: Sequence[str] = ()) -> Any:
        """Run a module of tests/ as this user; its option `--program` names a queuectl to run."""
        command, path = _command()
        program = self.home / "queuectl"
        program.write_text(f'#!/bin/sh\nexec {" ".join(map(str, command))} "$@"\n')
        program.chmod(0o755)
        tests = self.home / "code"
        shutil.copytree(TESTS, tests / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        python = command[0] if path else sys.executable
        path = os.pathsep.join(filter(None, (str(tests / "tests"), path)))
        ours: list[str | Path] = [*prefix, python, "-m", module, "--program", program]
        return self._run([*ours, *words], path, timeout=300)

    def _run(
        self, command: Sequence[str | Path], path: str, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        environment = {"HOME": str(self.home), "QUEUECTL_SPOOL": str(self.spool)}
        if path:
            environment |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command,
            **{"capture_output": True, "text": True, "timeout": 60, "check": False, **options},
            env={**os.environ, **environment},
            cwd=self.home,
        )

    def drop(self, name: str, data: str, mode: int = 0o600) -> Path:
        """Put a file of this user's into `pending/`."""
        staged = self.spool / "tmp" / "dropped"
        staged.write_text(data)
        if os.geteuid() == 0:
            os.chown(staged, self.uid, self.uid)
        staged.chmod(mode)
        return staged.rename(self.spool / "pending" / name)


@contextmanager
def unprivileged() -> Iterator[Unprivileged]:
    """Make the user's directory, where every user can reach it; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="queuectl-nobody-", dir="/tmp") as directory:
        uid = NOBODY if os.geteuid() == 0 else os.geteuid()
        os.chmod(directory, 0o755)
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        os.chown(home, uid, -1)
        yield Unprivileged(home, uid)

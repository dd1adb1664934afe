"""The installed command in real processes: each test has a spool, a home and workers of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.commands import Queuectl, Spool
from helpers.processes import WorkerProcess, living

QUICK: dict[str, float] = {"quiet_period": 0.3, "rescan_interval": 0.5, "kill_grace": 1}


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
        process = WorkerProcess(
            tmp_path / f"worker-{len(started)}.err",
            *args,
            env=queuectl.environment,
            cwd=queuectl.cwd,
            wait="--quiet" not in args,
        )
        assert process.runs or "--drain" in args, process.said
        started.append(process)
        return process

    yield start
    for each in started:
        if each.runs:
            each.kill()  # what its jobs leave is ended with the rest of the spool's
        each.left()
        print(each.said)


@pytest.fixture
def processes_with() -> Callable[[str], list[int]]:
    """Return the running processes that have a text in their command line."""
    return living

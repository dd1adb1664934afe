"""Run a function in a child process under strace, and break one of its system calls.

The child is a fork of this process, with everything imported, and waits until strace has
attached: about 5 ms a point instead of 100 for a new interpreter.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from queuectl.errors import QueuectlError

CLEAN_ERROR, CRASH = 3, 4

CHANGING = (
    "open,openat,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,sync_file_range,rename,renameat,"
    "renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,flock"
)
WRITING = f"close,fcntl,dup,dup2,lseek,{CHANGING}"
_THREADS = ("-f", "-b", "execve")
_LINE = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)")


class Call(NamedTuple):
    """The n-th call of a name, counted from the start of the function."""

    name: str
    nth: int
    text: str
    changes: bool


class End(NamedTuple):
    """How the child ended: by the signal, with an error it reported, or well."""

    killed: bool
    code: int


def record(act: Callable[[], object], root: Path, log: Path) -> list[Call]:
    """Run `act` whole and list all its calls; those that change something under `root` are told."""
    end = run(act, ["-y", "-s", "64", "-o", str(log)])
    assert end == End(False, 0), f"the operation itself fails: {end}"
    counts: Counter[str] = Counter()
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _LINE.match(line):
            name = match["name"]
            counts[name] += 1
            changes = name in CHANGING.split(",") and ("open" not in name or "O_CREAT" in line)
            changes = changes and str(root) in match["arguments"]
            calls.append(Call(name, counts[name], line[:160], changes))
    return calls


def record_threads(act: Callable[[], object], log: Path) -> list[Call]:
    """Run `act` whole and list the calls of its threads, and of its commands until their exec.

    strace counts the calls of each thread and command by itself: the n-th call is one that any of
    them makes, and if it is broken it is broken in all that make so many.
    """
    end = run(act, [*_THREADS, "-y", "-s", "64", "-o", str(log)])
    assert end == End(False, 0), f"the operation itself fails: {end}"
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    calls: dict[tuple[str, int], Call] = {}
    for line in log.read_text(errors="replace").splitlines():
        thread, _, text = line.partition(" ")
        if match := _LINE.match(text.lstrip()):
            name = match["name"]
            counts[thread][name] += 1
            nth = counts[thread][name]
            calls.setdefault((name, nth), Call(name, nth, text.lstrip()[:160], False))
    return list(calls.values())


def transcript(act: Callable[[], object], log: Path) -> list[str]:
    """Run `act` whole and return its calls that write or sync, all strings whole and as hex."""
    end = run(act, ["-xx", "-s", str(1 << 22), "-o", str(log), "-e", f"trace={WRITING}"])
    assert end == End(False, 0), f"the operation itself fails: {end}"
    return log.read_text().splitlines()


def run_with(
    act: Callable[[], object], call: Call, fault: str, log: Path, *, threads: bool = False
) -> End:
    """Run `act` with one call broken: `fault` is "kill", or an errno's name for that call."""
    how = "signal=SIGKILL" if fault == "kill" else f"error={fault}"
    inject = f"inject={call.name}:{how}:when={call.nth}"
    more = _THREADS if threads else ()
    return run(act, [*more, "-o", str(log), "-e", f"trace={call.name}", "-e", inject])


def run_plain(act: Callable[[], object]) -> End:
    """Run `act` in a child, unbroken."""
    return run(act, None)


def run(act: Callable[[], object], options: list[str] | None) -> End:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _be_the_child(act, stop=options is not None)
    if options is not None:
        os.waitpid(child, os.WUNTRACED)
        command = ["strace", "-p", str(child), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            os.kill(child, signal.SIGCONT if "attached" in said else signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            rest = strace.stderr.read()
        assert "attached" in said, f"strace cannot attach: {said}{rest}"
    else:
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return End(code == -signal.SIGKILL, code)


def _be_the_child(act: Callable[[], object], *, stop: bool) -> None:
    code = 0
    try:
        if stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        act()
    except (QueuectlError, OSError):
        code = CLEAN_ERROR
    except BaseException:
        traceback.print_exc()
        code = CRASH
    os._exit(code)  # no clean-up: the process just ends

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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from queuectl.errors import QueuectlError

CLEAN_ERROR, CRASH = 3, 4

READING = "read,pread64,close,lseek,fcntl,stat,lstat,fstat,newfstatat,getdents64,statfs"
CHANGING = (
    "open,openat,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,sync_file_range,rename,renameat,"
    "renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,flock"
)
WRITING = f"close,fcntl,dup,dup2,lseek,{CHANGING}"
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
    """Run `act` whole and list its calls that touch something under `root`."""
    end = _run(act, ["-y", "-s", "64", "-o", str(log), "-e", f"trace={READING},{CHANGING}"])
    assert end == End(False, 0), f"the operation itself fails: {end}"
    counts: Counter[str] = Counter()
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _LINE.match(line):
            name = match["name"]
            counts[name] += 1
            if str(root) in match["arguments"]:
                changes = name in CHANGING.split(",") and ("open" not in name or "O_CREAT" in line)
                calls.append(Call(name, counts[name], line[:160], changes))
    return calls


def transcript(act: Callable[[], object], log: Path) -> list[str]:
    """Run `act` whole and return its calls that write or sync, all strings whole and as hex."""
    end = _run(act, ["-xx", "-s", str(1 << 22), "-o", str(log), "-e", f"trace={WRITING}"])
    assert end == End(False, 0), f"the operation itself fails: {end}"
    return log.read_text().splitlines()


def run_with(act: Callable[[], object], call: Call, fault: str, log: Path) -> End:
    """Run `act` with one call broken: `fault` is "kill", or an errno's name for that call."""
    how = "signal=SIGKILL" if fault == "kill" else f"error={fault}"
    inject = f"inject={call.name}:{how}:when={call.nth}"
    return _run(act, ["-o", str(log), "-e", f"trace={call.name}", "-e", inject])


def run_plain(act: Callable[[], object]) -> End:
    """Run `act` in a child, unbroken."""
    return _run(act, None)


def _run(act: Callable[[], object], options: list[str] | None) -> End:
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

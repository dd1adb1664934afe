"""The first process of a container: it passes signals on to the worker, and reaps orphans.

A process whose parent has ended becomes a child of PID 1, which must reap it: otherwise it stays as
a zombie. A worker that reaped any child could take the exit status of its own commands, so the
worker is a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal

_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_WAITED_FOR = _PASSED_ON | {signal.SIGCHLD}


def part_from_first_process() -> int | None:
    """If this is PID 1, continue in a child process.

    The child gets None at once, and so does any process that is not PID 1. PID 1 itself gets the
    exit code of the child when that has ended: 128 + N if signal N has killed it.
    """
    if os.getpid() != 1:
        return None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    if child := os.fork():
        return _serve(child)
    os.setpgid(0, 0)  # Ctrl-C comes from PID 1 alone, not from the terminal as well
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return None


def _serve(child: int) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, no status can be known
    while True:
        for pid, code in _reap():
            if pid == child:
                return code if code >= 0 else 128 - code
        received = signal.sigwait(_WAITED_FOR)
        if received in _PASSED_ON:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, received)


def _reap() -> list[tuple[int, int]]:
    """Reap all children that have ended; return their ids and exit codes."""
    reaped = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            reaped.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return reaped

"""A job that leaves processes behind, in every way a process can leave its parent.

As a job: `orphan.py run MARK DIRECTORY END TRAIT...` starts one process with these traits on
its first attempt, waits until it stands, and then ends as END says: `fails`, `succeeds` or
`hangs`; with `becomes` it turns into that process itself. On a later attempt it only writes
down, in DIRECTORY/seen-MARK, which processes of the earlier ones are still alive, and succeeds.

Every process has MARK-ATTEMPT in its arguments, the one thing that nothing here sheds.
Run by Python's -I -S, so that it starts in milliseconds; it imports nothing of ours.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TRAITS = ("setsid", "fork", "deaf", "closed", "bare")
"""Own session; parent gone; no ear for SIGTERM; no descriptors; no environment."""


def run(mark: str, directory: str, end: str, traits: list[str]) -> None:
    """Be the job's command."""
    attempt = int(os.environ["QUEUECTL_ATTEMPT"])
    if attempt > 1:
        alive = [pid for n in range(1, attempt) for pid in _living(f"{mark}-{n}")]
        with open(f"{directory}/seen-{mark}", "w", encoding="ascii") as file:
            file.write(" ".join(alive) + "\n")
        return
    ready = f"{directory}/ready-{mark}"
    if end == "becomes":
        _become(f"{mark}-{attempt}", ready, traits)
    if os.fork() == 0:
        if "setsid" in traits:
            os.setsid()
        if "fork" in traits and os.fork():
            os._exit(0)
        _become(f"{mark}-{attempt}", ready, traits)
    while not os.path.exists(ready):
        time.sleep(0.01)
    if end == "fails":
        sys.exit(1)
    while end == "hangs":
        signal.pause()


def _become(mark: str, ready: str, traits: list[str]) -> None:
    environment = {} if "bare" in traits else dict(os.environ)
    argv = [sys.executable, "-I", "-S", __file__, "be", mark, ready, *traits]
    os.execve(argv[0], argv, environment)


def be(ready: str, traits: list[str]) -> None:
    """Be what is left behind, until somebody ends it."""
    if "deaf" in traits:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    with open(ready + ".new", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    if "closed" in traits:
        os.closerange(0, 65536)
    os.rename(ready + ".new", ready)
    while True:
        signal.pause()


def _living(mark: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as arguments:
                words = arguments.read().split(b"\0")
            with open(f"/proc/{pid}/stat", "rb") as file:
                state = file.read().rpartition(b") ")[2][:1]
        except OSError:
            continue
        if mark.encode() in words and state not in (b"Z", b"X"):
            found.append(pid)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        be(sys.argv[3], sys.argv[4:])

"""Every test process begins in the same state, whatever has started it.

Only the variables named here are kept: a test that needs another sets it. Signals that the parent
ignores (`nohup`, a CI that runs in the background) get a handler that does nothing: this process
goes on ignoring them, and its children have the default, for exec resets a handler.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile

KEPT = {"PATH", "TMPDIR", "CI", "VIRTUAL_ENV", "FUSE_LIBRARY_PATH"}
KEPT_FAMILIES = ("PYTEST_", "HYPOTHESIS_", "COVERAGE_", "COV_")
OUR_SWITCHES = {
    "QUEUECTL_CRASH_STATES",
    "QUEUECTL_EVERY_POINT",
    "QUEUECTL_FUZZ",
    "QUEUECTL_FUZZ_SEED",
    "QUEUECTL_MODEL_EXAMPLES",
    "QUEUECTL_REWRITE_DOCS",
    "QUEUECTL_STORM_SEED",
}
"""Variables that the tests themselves read: how much to try, and from which seed."""
HOME_OF_THE_RUN = "PYTEST_HOME_OF_THE_RUN"
UMASK = 0o022
SIGNALS = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTTOU, signal.SIGTTIN,
)  # fmt: skip


def enter() -> None:
    """Put this process, and so all that it starts, into the known state."""
    for name in list(os.environ):
        if not (name in KEPT or name in OUR_SWITCHES or name.startswith(KEPT_FAMILIES)):
            del os.environ[name]
    os.environ["HOME"] = _empty_home()
    os.environ["LANG"] = "C.UTF-8"
    os.environ["PAGER"] = "cat"  # nobody is there to turn its pages
    os.umask(UMASK)
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _settle_descriptors()


def _do_nothing(number: int, frame: object) -> None:
    pass


def _empty_home() -> str:
    """Make a home for the whole run; its workers find it in their environment."""
    if HOME_OF_THE_RUN not in os.environ:
        made = tempfile.mkdtemp(prefix="queuectl-home-")
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        os.environ[HOME_OF_THE_RUN] = made
    return os.environ[HOME_OF_THE_RUN]


def _settle_descriptors() -> None:
    for fd in range(3):  # closed ones would be given to the first file that is opened
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
    for name in os.listdir("/dev/fd"):  # what the parent has left open is not for our children
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)

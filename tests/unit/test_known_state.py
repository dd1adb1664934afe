"""No test depends on what has started it: the state in which every test process begins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import known_state

TESTS = Path(known_state.__file__).parents[1]
TELL = """
import json, os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from helpers import known_state
known_state.enter()
child = "import os, signal, json; print(json.dumps(["
child += "[str(int(n)) for n in signal.Signals if signal.getsignal(n) == signal.SIG_IGN], "
child += "sorted(os.environ), os.path.exists('/dev/fd/5')]))"
ours = [sorted(os.environ), os.umask(0), [os.path.exists(f"/dev/fd/{n}") for n in range(3)],
        len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]
found = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True,
                       close_fds=False, restore_signals=False)
print(json.dumps([ours, json.loads(found.stdout)]), flush=True)
"""
HOSTILE = {
    "QUEUECTL_SPOOL": "/nonexistent",
    "QUEUECTL_RUN": "x",
    "XDG_STATE_HOME": "/nonexistent",
    "COLUMNS": "20",
    "LINES": "3",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "LC_ALL": "C",
    "LANG": "de_DE.ISO-8859-1",
    "PYTHONOPTIMIZE": "2",
    "TZ": "Asia/Kathmandu",
}


def _told(prefix: str = "", **environment: str) -> tuple[list[object], list[Any]]:
    command = f'{prefix} exec "$0" "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, "-c", TELL, str(TESTS)],
        capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip
    ours, child = json.loads(done.stdout)
    return ours, child


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [
        ('trap "" HUP INT QUIT TERM CHLD TSTP USR1;', {}),
        ("umask 077;", {}),
        ("exec 5</etc/passwd;", {}),
        ("exec <&-;", {}),
        ("", HOSTILE),
    ],
    ids=["ignored signals", "umask", "an inherited descriptor", "no stdin", "variables"],
)
def test_whatever_starts_the_tests_they_begin_in_one_state(
    prefix: str, environment: dict[str, str]
) -> None:
    assert _told(prefix, **environment) == _told()


def test_the_variables_are_few() -> None:
    (variables, umask, descriptors, blocked), (ignored, *_) = _told(**HOSTILE)
    assert variables == ["HOME", "LANG", "PAGER", "PATH", known_state.HOME_OF_THE_RUN]
    assert (umask, descriptors, blocked) == (0o022, [True] * 3, 0)
    by_python = {str(int(signal.SIGPIPE)), str(int(signal.SIGXFSZ))}  # by each Python, at its start
    assert set(ignored) <= by_python


def test_this_very_process_is_in_it() -> None:
    strange = {
        name
        for name in os.environ
        if name not in known_state.KEPT | known_state.OUR_SWITCHES | {"HOME", "LANG", "PAGER"}
        and not name.startswith(known_state.KEPT_FAMILIES)
    }
    assert strange == set()
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN

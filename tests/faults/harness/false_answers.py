"""Calls that are carried out and then answer an error.

A network file system sends a call again when its answer was lost: the second answer is then that
the name is taken, or gone. A soft mount gives up waiting, and a close tells what it likes. strace
cannot do that: it leaves out the call that it breaks. So the functions that make the calls are
wrapped, in a child process.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.harness.operations import BY_HAND
from faults.harness.strace import Call, End, run

from queuectl.disk import renames

SENT_AGAIN = {
    "link": "EEXIST", "unlink": "ENOENT", "rename": "ENOENT", "mkdir": "EEXIST", "rmdir": "ENOENT",
}  # fmt: skip
"""What a call that is sent again answers: the operation has to succeed all the same."""
GIVEN_UP = {
    "link": ("ETIMEDOUT",), "unlink": ("ETIMEDOUT",), "rename": ("ETIMEDOUT",),
    "mkdir": ("ETIMEDOUT",), "rmdir": ("ETIMEDOUT",), "open": ("ETIMEDOUT",),
    "renameat2": ("ETIMEDOUT", "EEXIST", "ENOENT"), "close": ("EIO",),
}  # fmt: skip
"""What a call answers whose outcome is not known: the operation may fail, and loses nothing."""

_Answer = Callable[[str, str], str | None]
"""Is told a function and its arguments after each call; returns the error that it answers."""


def record(act: Callable[[], object], root: Path, log: Path) -> list[Call]:
    """Run `act` whole and list its calls of the functions that can answer falsely."""
    with log.open("w") as file:

        def note(name: str, arguments: str) -> None:
            print(name, arguments, file=file, flush=True)

        end = run(lambda: _wrapped(act, note), None)
    assert end == End(False, 0), f"the operation itself fails: {end}"
    counts: Counter[str] = Counter()
    calls = []
    for line in log.read_text().splitlines():
        name, _, arguments = line.partition(" ")
        counts[name] += 1
        if BY_HAND in arguments:
            continue
        calls.append(Call(name, counts[name], f"{name}({arguments})"[:300], True))
    return calls


def run_with(act: Callable[[], object], call: Call, fault: str, _: Path) -> End:
    """Run `act` with one call that is carried out and answers an error."""
    counts: Counter[str] = Counter()

    def answer(name: str, _: str) -> str | None:
        counts[name] += 1
        return fault if (name, counts[name]) == (call.name, call.nth) else None

    return run(lambda: _wrapped(act, answer), None)


def _wrapped(act: Callable[[], object], answer: _Answer) -> None:
    """Run `act` in this process, which ends with it."""
    for name in GIVEN_UP:
        if name != "renameat2":
            setattr(os, name, _wrap(name, getattr(os, name), answer))
    if renames._renameat2 is not None:
        setattr(renames, "_renameat2", _wrap_c(renames._renameat2, answer))  # noqa: B010 - a C type
    act()


def _wrap(name: str, real: Callable[..., Any], answer: _Answer) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        if name == "open" and not args[1] & os.O_CREAT:
            return result
        if error := answer(name, repr(args)):
            if name == "open":
                _close(result)
            code = getattr(errno, error)
            raise OSError(code, os.strerror(code), *args[:1], None, *args[1:2])
        return result

    return call


def _wrap_c(real: Callable[..., int], answer: _Answer) -> Callable[..., int]:
    def call(*args: Any) -> int:
        result = real(*args)
        if result == 0 and (error := answer("renameat2", repr(args))):
            ctypes.set_errno(getattr(errno, error))
            return -1
        return result

    return call


_close = os.close

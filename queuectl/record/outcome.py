"""How an attempt ended, as its history entry tells it."""

from __future__ import annotations

import signal

from msgspec.structs import replace

from queuectl.record.job import Attempt, Outcome


def conclude(
    entry: Attempt, asked: Outcome | None, code: int | None, timeout: float | None
) -> Attempt:
    """Enter how a command has ended: by what was asked for, or by its own exit code."""
    name = _signal_name(-code) if code is not None and code < 0 else None
    entry = replace(entry, exit_code=None if name else code, signal=name)
    match asked:
        case "timeout":
            return replace(entry, outcome="timeout", error=f"ran longer than {timeout:g} s")
        case "cancelled" | "interrupted":
            words = "cancelled" if asked == "cancelled" else "the worker was told to stop now"
            return replace(entry, outcome=asked, error=words)
    if code == 0:
        return replace(entry, outcome="ok")
    return replace(entry, error=f"killed by {name}" if name else f"exit status {code}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIG{number}"

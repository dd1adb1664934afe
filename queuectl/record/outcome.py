"""How an attempt ended, as its history entry records it."""

from __future__ import annotations

import signal
from typing import Literal

from msgspec.structs import replace

from queuectl.record.job import Attempt, Outcome


def ended(
    entry: Attempt,
    ended_by: Outcome | Literal["output"] | None,
    exit_code: int | None,
    timeout: float | None,
    output_max: int | None = None,
) -> Attempt:
    """Return the history entry of an attempt whose command has ended.

    `ended_by` is the reason for which queuectl killed the command, or None if the command exited by
    itself. `exit_code` is that of `subprocess`: -N if signal N killed the command, None if it is
    not known. `timeout`, in seconds, and `output_max`, in bytes, are used only in the texts.
    """
    by_signal = _signal_name(-exit_code) if exit_code is not None and exit_code < 0 else None
    entry = replace(entry, exit_code=None if by_signal else exit_code, signal=by_signal)
    match ended_by:
        case "timeout":
            return replace(entry, outcome="timeout", error=f"ran longer than {timeout:g} s")
        case "output":
            return replace(entry, error=f"output exceeded output_max ({output_max} bytes)")
        case "cancelled":
            return replace(entry, outcome="cancelled", error="cancelled")
        case "interrupted":
            return replace(entry, outcome="interrupted", error="the worker was told to stop now")
    if exit_code == 0:
        return replace(entry, outcome="ok")
    if exit_code is None:
        return replace(entry, error="its exit status is unknown: something else has reaped it")
    return replace(
        entry, error=f"killed by {by_signal}" if by_signal else f"exit status {exit_code}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIG{number}"

"""Waiting for a condition, with a deadline: no test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: object = None, seconds: float = 30) -> T:
    """Wait until a condition is true and return what it gave; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds:g} s: {what or condition}")
        time.sleep(0.01)
    return value

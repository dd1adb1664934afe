"""What error messages are tested with: values of every type, and words that only libraries use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queuectl.errors import InvalidInput

VALUES: list[Any] = [
    True,
    0,
    -1,
    1.5,
    1e300,
    2**70,
    "",
    "x",
    "a\0b",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    {"": "x"},
]
"""Values of every type of JSON and TOML, but null. Each is wrong for some field or setting."""

_FOREIGN = ("`", "regex", "xpected", "$.", "msgspec", "malformed", "enum", "| null", "Python")


def refusal_of(act: Callable[[], object]) -> str:
    """Return the message with which something is refused, "" if it is not."""
    try:
        act()
    except InvalidInput as error:
        return str(error)
    return ""


def foreign_words(message: str) -> list[str]:
    """Return the words of a message that come from a library, not from us."""
    return [word for word in _FOREIGN if word in message]

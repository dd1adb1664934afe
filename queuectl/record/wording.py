"""Error messages in our words: the values that a user gave, and what a parser found wrong.

The sentences of the libraries that parse are written for programmers, and change with their
versions. They never reach a user: only the kind of error and its position are taken from them.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_SHOWN = 60
"""The most characters of a value that a message shows."""

_JSON_POSITION = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)
_JSON_PROBLEMS = {
    "expected ','": "a comma or a closing bracket is missing",
    "expected ':'": "a ':' is missing after a key",
    "expected '\"'": "a key must be a string in double quotes",
    "object keys must be strings": "a key must be a string in double quotes",
    "trailing comma": "a comma before a closing bracket",
    "trailing characters": "more text after the end",
    "invalid number": "invalid number",
    "invalid escaped character": "invalid escape in a string",
    "invalid character in unicode escape": r"invalid \u escape in a string",
    "invalid utf-16 surrogate pair": r"invalid \u escape in a string",
    "unexpected end of": r"invalid \u escape in a string",
    "invalid character": "invalid character",
}
_TOML_POSITION = re.compile(r"(.*) \(at (?:(line \d+, column \d+)|end of document)\)", re.DOTALL)
_TOML_PROBLEMS = {
    "Expected '='": "'=' is missing after a key",
    "Expected ']": "a closing ']' is missing",
    "Expected newline": "more text after the value",
    "Expected": "a quotation mark is missing",
    "Invalid statement": "a line must be KEY = VALUE, [TABLE] or a comment",
    "Invalid initial character": "invalid key",
    "Invalid value": "missing or invalid value; put text in quotation marks",
    "Invalid date": "invalid date or time",
    "Invalid hex": "invalid escape in a string",
    "Escaped character": "invalid escape in a string",
    "Unescaped": "invalid escape in a string",
    "Found invalid character": "invalid character",
    "Illegal character": "invalid character",
    "Unclosed array": "a closing ']' is missing",
    "Unclosed inline table": "a closing '}' is missing",
    "Unterminated string": "a quotation mark is missing",
    "Cannot declare": "a name is given twice",
    "Cannot overwrite": "a name is given twice",
    "Cannot mutate": "a name is given twice",
    "Cannot redefine": "a name is given twice",
    "Duplicate": "a name is given twice",
    "Exceeds the limit": "a number has too many digits",
}


def shown(value: Any) -> str:
    """Return a value as a message shows it: text in quotes, anything else as JSON, cut short."""
    if isinstance(value, str):
        return repr(_cut(value))
    if isinstance(value, float) or hasattr(value, "isoformat"):
        return str(value)  # TOML has nan, inf and dates, which JSON does not have
    try:
        return _cut(json.dumps(value, ensure_ascii=False, default=str))
    except (TypeError, ValueError, RecursionError):  # Python writes at most 4300 digits
        return (
            "a number with too many digits"
            if isinstance(value, int)
            else f"a value of type {type(value).__name__}"
        )


def shown_json(text: bytes) -> str:
    """Return a JSON value as a message shows it: text in quotes, anything else as it was written.

    `text` is valid JSON, so a number keeps digits that no Python number could hold.
    """
    if text.startswith(b'"'):
        return shown(json.loads(text))
    return _cut(" ".join(text.decode().split()))


def json_problem(error: Exception) -> str:
    """Say what is wrong with the syntax of JSON, and at which byte, counted from 0.

    `error` is what msgspec raised.
    """
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if not (found := _JSON_POSITION.fullmatch(str(error).removeprefix("JSON is malformed: "))):
        return "its end is missing"  # the only error without a position
    return f"{_translate(found[1], _JSON_PROBLEMS)} at byte {found[2]}"


def toml_problem(error: Exception) -> str:
    """Say what is wrong with the syntax of TOML, and in which line and column.

    `error` is what tomllib raised: TOMLDecodeError, ValueError or RecursionError.
    """
    if isinstance(error, RecursionError):
        return "nested too deeply"
    found = _TOML_POSITION.fullmatch(str(error))
    problem = _translate(found[1] if found else str(error), _TOML_PROBLEMS)
    if not found:
        return problem
    return f"{found[2] or 'at the end'}: {problem}"


def _translate(problem: str, known: dict[str, str]) -> str:
    """Return our words for a problem; `known` has the longer beginnings first."""
    return next((ours for begin, ours in known.items() if problem.startswith(begin)), "bad syntax")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."

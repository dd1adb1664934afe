"""What is wrong with a job, in our words: which field, what it must be, and what it is.

msgspec checks the types, and its sentences are written for programmers. Taken from them are only
the path of the wrong value, as in `$.history[0].outcome`, and the name of a missing field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from queuectl.errors import InvalidJob
from queuectl.record.ids import ID_RULE
from queuectl.record.wording import shown, shown_json

_TIMESTAMP = "an RFC 3339 timestamp such as 2026-11-24T08:00:00Z"
_COUNT = "a whole number of at least 0"

MUST_BE: Mapping[str, str] = {
    "command": "a string or an array of strings",
    "priority": "a whole number that fits in 64 bits",
    "run_at": _TIMESTAMP,
    "max_retries": _COUNT,
    "timeout": "a number of seconds greater than 0",
    "cwd": "an absolute path",
    "env": "an object of strings",
    "created_at": _TIMESTAMP,
    "updated_at": _TIMESTAMP,
    "attempts": _COUNT,
    "history": "an array of objects",
    "id": "a valid id",
}
"""What each field of a job must be. The id also has a sentence of its own."""
ATTEMPT_MUST_BE: Mapping[str, str] = {
    "attempt": _COUNT,
    "outcome": "ok, failed, timeout, lost, cancelled or interrupted",
    "exit_code": "a whole number",
    "signal": "a string",
    "error": "a string",
    "worker": "a string",
    "host": "a string",
    "started_at": _TIMESTAMP,
    "finished_at": _TIMESTAMP,
    "log": "a string",
}
"""What each key of a history entry must be."""

_HISTORY = re.compile(r"history\[(\d+)\](?:\.(\w+))?")


def explain(error: Exception, raw: Mapping[str, Raw]) -> InvalidJob:
    """Return the error for a job of which a value has the wrong type.

    `error` is what msgspec raised for `raw`, the JSON text of each key.
    """
    if isinstance(error, RecursionError):
        return InvalidJob("nested too deeply")
    problem, path = _problem_and_path(error)
    field = _field_of(path)
    if missing := re.fullmatch("Object missing required field `(.*)`", problem):
        where = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidJob(f"{where} is missing", field=_field_of(where))
    if path.startswith("history["):
        return _explain_entry(path, raw["history"])
    if path == "env[...]":
        return _explain_env(raw["env"])
    value = bytes(raw[field])
    if path == "command" and value[:1] in (b'"', b"["):
        return InvalidJob("command must not be empty", field=field)
    return wrong_field(field, shown_json(value))


def explain_hidden(error: Exception) -> InvalidJob:
    """Return the error for a value that is null, or that a later one of the same key hides."""
    problem, path = _problem_and_path(error)
    field = _field_of(path)
    if path == field and problem.endswith("got `null`"):
        return wrong_field(field, "null")
    return InvalidJob(f"{field} is given twice, once with a wrong value", field=field)


def wrong_field(field: str, value: str) -> InvalidJob:
    """Return the error for a field's value, given as `shown` returns it."""
    if field == "id":
        return InvalidJob(f"{value} is not a valid id: {ID_RULE}", field=field)
    return InvalidJob(f"{field} must be {MUST_BE[field]}, not {value}", field=field)


def wrong_entry(number: int, key: str, value: str) -> InvalidJob:
    """Return the error for a value in a history entry, given as `shown` returns it."""
    where = f"history[{number}].{key}"
    return InvalidJob(f"{where} must be {ATTEMPT_MUST_BE[key]}, not {value}", field="history")


def _problem_and_path(error: Exception) -> tuple[str, str]:
    problem, _, path = str(error).partition(" - at `$")
    return problem, path.rstrip("`").lstrip(".")


def _field_of(path: str) -> str:
    return re.split(r"[.[]", path)[0]


def _explain_entry(path: str, history: Raw) -> InvalidJob:
    found = _HISTORY.match(path)
    assert found is not None
    number, key = int(found[1]), found[2]
    entry = msgspec.json.decode(history, type=list[Raw])[number]
    if key is None:
        shown_entry = shown_json(bytes(entry))
        return InvalidJob(f"{path} must be an object, not {shown_entry}", field="history")
    value = msgspec.json.decode(entry, type=dict[str, Raw])[key]
    return wrong_entry(number, key, shown_json(bytes(value)))


def _explain_env(env: Raw) -> InvalidJob:
    """Name the variable, and keep its value to ourselves: it may be a secret."""
    values = msgspec.json.decode(env, type=dict[str, Raw])
    names = [name for name, value in values.items() if not bytes(value).startswith(b'"')]
    where = f"the value of {shown(names[0])}" if names else "some value"
    return InvalidJob(f"env must be {MUST_BE['env']}: {where} is not a string", field="env")

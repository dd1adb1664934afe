"""The arguments of the Python API: a TypeError says what is wanted, where the types are ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from queuectl.errors import InvalidInput
from queuectl.record.job import FIELDS, STATES, State
from queuectl.record.wording import shown

T = TypeVar("T")


def seconds(name: str, value: object) -> float | None:
    """Return a time as seconds: a number or a timedelta; None stays None. Raises TypeError."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise _wrong(name, "a number of seconds or a timedelta", value)


def command(value: object) -> str | list[Any]:
    """Return a command as a record has it. Raises TypeError."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        raise TypeError(
            f"command must be a string or a sequence of strings, not {shown(value)}; "
            "enqueue_many takes jobs as mappings"
        )
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise _wrong("command", "a string or a sequence of strings", value)
    return list(value)


def variables(value: object) -> dict[str, Any] | None:
    """Return an environment as a record has it. Raises TypeError."""
    return None if value is None else dict(mapping("env", "a mapping of strings", value))


def extra(value: object) -> dict[str, Any]:
    """Return the keys that are kept beside the fields. Raises TypeError, InvalidInput."""
    if value is None:
        return {}
    found = dict(mapping("extra", "a mapping of keys that queuectl does not know", value))
    if known := [name for name in found if name in FIELDS]:
        raise InvalidInput(f"{known[0]} is a field of a job, not a key of your own")
    return found


def mapping(name: str, wanted: str, value: object) -> Mapping[Any, Any]:
    """Return a value that is a mapping. Raises TypeError."""
    if not isinstance(value, Mapping):
        raise _wrong(name, wanted, value)
    return value


def jobs(value: Iterable[T], kind: type[Any], wanted: str) -> Iterable[T]:
    """Yield the jobs of an iterable, each of a kind. Raises TypeError."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise _wrong("jobs", f"an iterable of {wanted}s", value)
    return (one_job(each, kind, f"job {number}", wanted) for number, each in enumerate(value, 1))


def one_job(value: T, kind: type[Any], name: str, wanted: str) -> T:
    """Return a job that is of a kind. Raises TypeError."""
    if not isinstance(value, kind):
        raise _wrong(name, f"a {wanted}", value)
    return value


def ids(value: object) -> list[str]:
    """Return ids as a list: several ids, or one. Raises TypeError."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise _wrong("ids", "an id or a sequence of ids", value)
    return [text("id", each) for each in value]


def text(name: str, value: object) -> str:
    """Return a value that is a string. Raises TypeError."""
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    return value


def count(name: str, value: object) -> int | None:
    """Return a whole number of at least 0, or None. Raises TypeError, InvalidInput."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number", value)
    if value < 0:
        raise InvalidInput(f"{name} must be at least 0, not {value}")
    return value


def state(value: object) -> State:
    """Return a state; `done`, the name of its directory, is completed. Raises InvalidInput."""
    for known in STATES:
        if value == known or (value == "done" and known == "completed"):
            return known
    raise InvalidInput(f"unknown state {shown(value)}; choose from {', '.join(STATES)}")


def choice(name: str, value: T, choices: Sequence[T]) -> T:
    """Return one of several values. Raises InvalidInput."""
    if value not in choices:
        raise InvalidInput(
            f"unknown {name} {shown(value)}; choose from {', '.join(map(str, choices))}"
        )
    return value


def states(value: object) -> list[State]:
    """Return states as a list: several, or one. Raises TypeError, InvalidInput."""
    if isinstance(value, str):
        return [state(value)]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise _wrong("state", "a state or a sequence of states", value)
    return [state(each) for each in dict.fromkeys(value)]


def _wrong(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {wanted}, not {shown(value)}")

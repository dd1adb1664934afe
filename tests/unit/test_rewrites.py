"""A record that is changed: what is not ours comes through, what is ours stands in its order."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.record import job
from queuectl.record.job import Attempt

LOST = Attempt(attempt=1, outcome="lost")
TEXTS = [
    "1.10",
    "1e400",
    "-0.0",
    "1E+2",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    '"\\u00e9\\n"',
    "null",
    '{"state": "kept here", "a": [1.10, {"b": 1e400}]}',
]
# Two levels that are spelled out: `st.recursive` throws away two of three values that it has drawn
# because they are too large, and draws keys until they differ; that was nine tenths of the time.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.decimals(allow_nan=False, allow_infinity=False)
)
KEYS = st.text(max_size=10)


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)


JSON = _around(_around(SCALARS))


class Number(str):
    """A number as it is written."""


def _read(data: bytes) -> Any:
    return json.loads(data, parse_float=Number, parse_int=Number)


def _written(value: Any) -> str:
    match value:
        case Decimal():
            return str(value)
        case list():
            return f"[{','.join(map(_written, value))}]"
        case dict():
            pairs = (f"{json.dumps(key)}:{_written(each)}" for key, each in value.items())
            return f"{{{','.join(pairs)}}}"
    return json.dumps(value)


@pytest.mark.parametrize("text", TEXTS)
def test_a_field_that_is_not_ours_keeps_its_text_through_every_rewrite(text: str) -> None:
    given_ = job.decode(f'{{"command": "true", "x": {text}}}'.encode())
    once = given_.evolve(priority=3).with_attempt(LOST, attempts=1)
    again = job.decode(once.encode()).evolve(run_at="2026-11-24T08:00:00Z", priority=None)
    assert _read(again.encode())["x"] == _read(text.encode())


@given(
    st.dictionaries(
        KEYS.filter(lambda key: key not in (*job.FIELDS, "state")), JSON, min_size=1, max_size=4
    )
)
def test_no_unknown_field_is_ever_changed(extra: dict[str, Any]) -> None:
    data = _written({"command": "true", **extra}).encode()
    rewritten = job.decode(data).with_attempt(LOST, attempts=1).encode()
    kept = {key: value for key, value in _read(rewritten).items() if key not in job.FIELDS}
    assert kept == {key: value for key, value in _read(data).items() if key != "command"}


def test_the_older_entries_of_a_history_keep_what_is_not_ours() -> None:
    older = b'[{"attempt": 1, "outcome": "ok", "rusage": {"utime": 1.10}, "x": 1e400}]'
    grown = job.decode(b'{"command": "true", "history": ' + older + b"}").with_attempt(
        Attempt(attempt=2, outcome="failed", exit_code=1)
    )
    assert _read(grown.encode())["history"][:1] == _read(older)


def test_an_attempt_is_entered_last_and_counted() -> None:
    record = job.decode(b'{"command": "true"}').with_attempt(LOST, attempts=1)
    assert (record.last_attempt, record.attempts, record.next_attempt) == (LOST, 1, 2)


def test_what_is_written_reads_as_what_was_changed() -> None:
    record = job.decode(b'{"command": "true", "x": 1}').evolve(priority=5, id="a")
    assert job.decode(record.encode()) == record


@pytest.mark.parametrize("key", ["run_at", "priority", "attempts", "history", "timeout"])
def test_a_field_that_is_taken_away_has_its_default(key: str) -> None:
    full = job.decode(
        b'{"command": "true", "run_at": "2026-11-24T08:00:00Z", "priority": 1, "attempts": 2,'
        b' "history": [{"attempt": 1, "outcome": "ok"}], "timeout": 3}'
    ).evolve(**{key: None})
    assert getattr(full, key) == getattr(job.decode(b'{"command": "true"}'), key)


def test_a_change_leaves_the_record_it_came_from_alone() -> None:
    before = job.decode(b'{"command": "true", "priority": 1}')
    before.evolve(priority=2)
    assert json.loads(before.encode())["priority"] == 1


def test_our_keys_come_first_and_in_the_order_of_the_table() -> None:
    values = {
        "zebra": 1,
        "history": [],
        "attempts": 0,
        "updated_at": "2026-11-24T08:00:00Z",
        "created_at": "2026-11-24T08:00:00Z",
        "env": {},
        "cwd": "/",
        "timeout": 1,
        "max_retries": 1,
        "run_at": "2026-11-24T08:00:00Z",
        "priority": 1,
        "command": "true",
        "id": "a",
        "apple": 1,
    }
    keys = list(json.loads(job.decode(json.dumps(values).encode()).encode()))
    assert keys == [*job.FIELDS, "zebra", "apple"]


def test_a_record_is_written_for_people() -> None:
    assert job.decode(b'{"command":"true","id":"a"}').encode() == (
        b'{\n  "id": "a",\n  "command": "true"\n}\n'
    )

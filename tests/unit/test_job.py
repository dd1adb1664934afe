"""The codec of the job file: each field of the table, and what is no job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJob, NotJson
from queuectl.record import job

DONE = {"attempt": 1, "outcome": "ok"}
VALID: list[tuple[str, Any]] = [
    ("command", "true"),
    ("command", ["true"]),
    ("command", ["echo", ""]),
    ("id", "a"),
    ("id", "0.A_b-c"),
    ("id", "x" * 100),
    ("priority", 0),
    ("priority", -7),
    ("priority", 2**63 - 1),
    ("run_at", "2026-11-24T08:00:00Z"),
    ("run_at", "2026-11-24T08:00:00.5+01:00"),
    ("max_retries", 0),
    ("max_retries", 10**6),
    ("timeout", 1),
    ("timeout", 0.001),
    ("cwd", "/"),
    ("cwd", "/tmp/a b"),
    ("env", {}),
    ("env", {"A": "", "b-c": "x=y"}),
    ("created_at", "2026-11-24T08:00:00Z"),
    ("updated_at", "2026-11-24T08:00:00Z"),
    ("attempts", 0),
    ("attempts", 4),
    ("history", []),
    ("history", [DONE]),
    ("history", [{**DONE, "exit_code": 0, "signal": None, "error": "x", "worker": "w"}]),
    ("history", [{**DONE, "outcome": outcome} for outcome in ("lost", "interrupted")]),
]
INVALID: list[tuple[str, Any]] = [
    ("command", ""),
    ("command", " \t"),
    ("command", []),
    ("command", [""]),
    ("command", ["true", 1]),
    ("command", 7),
    ("command", {"a": 1}),
    ("command", None),
    ("command", "a\0b"),
    ("id", ""),
    ("id", ".hidden"),
    ("id", "-dash"),
    ("id", "a/b"),
    ("id", "a\n"),
    ("id", "ü"),
    ("id", "x" * 101),
    ("id", 7),
    ("priority", "high"),
    ("priority", 1.5),
    ("priority", True),
    ("priority", 2**63),
    ("run_at", "tomorrow"),
    ("run_at", "2026-11-24T08:00:00"),
    ("run_at", "2026-13-24T08:00:00Z"),
    ("run_at", 1790000000),
    ("max_retries", -1),
    ("max_retries", 1.5),
    ("max_retries", "3"),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", "10m"),
    ("cwd", "relative"),
    ("cwd", ""),
    ("cwd", "/a\0b"),
    ("cwd", 7),
    ("env", []),
    ("env", {"A": 1}),
    ("env", {"": "x"}),
    ("env", {"A=B": "x"}),
    ("env", {"A": "\0"}),
    ("created_at", "yesterday"),
    ("updated_at", "now"),
    ("attempts", -1),
    ("attempts", "1"),
    ("history", {}),
    ("history", None),
    ("history", [7]),
    ("history", [{"attempt": 1}]),
    ("history", [{**DONE, "outcome": "perhaps"}]),
]
NOT_JSON = [
    pytest.param(b"", id="nothing"),
    pytest.param(b" \n", id="blank"),
    pytest.param(b"[]", id="array"),
    pytest.param(b'"true"', id="string"),
    pytest.param(b"null", id="null"),
    pytest.param(b"\xef\xbb\xbf" + b'{"command": "true"}', id="byte order mark"),
    pytest.param('{"command": "true"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'{"command": "\xff"}', id="invalid UTF-8"),
    pytest.param(b'{"command": "\xed\xa0\x80"}', id="surrogate in UTF-8"),
    pytest.param(b'{"command": "\\ud800"}', id="lone surrogate"),
    pytest.param(b'{"command": "true", "x": NaN}', id="NaN"),
    pytest.param(b'{"command": "true", "x": -Infinity}', id="infinity"),
    pytest.param(b'{"command": "true",}', id="trailing comma"),
    pytest.param(b'{"command": "true"} {}', id="two documents"),
    pytest.param(b"{'command': 'true'}", id="single quotes"),
    pytest.param(b'{"command": "true"}\0', id="NUL behind"),
    pytest.param(b"\0" * 4096, id="all zeros"),
    pytest.param(b'{"command": "true", "x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", id="deep"),
]


def _document(key: str, value: Any) -> bytes:
    return json.dumps({"command": "true", key: value}).encode()


@pytest.mark.parametrize(("key", "value"), VALID)
def test_a_valid_value_is_read_as_it_is(key: str, value: Any) -> None:
    read = getattr(job.decode(_document(key, value)), key)
    assert (len(read) if key == "history" else read) == (len(value) if key == "history" else value)


@pytest.mark.parametrize(("key", "value"), INVALID)
def test_an_invalid_value_is_refused_and_its_field_named(key: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=key) as refusal:
        job.decode(_document(key, value))
    assert not isinstance(refusal.value, NotJson)


def test_a_job_without_a_command_is_refused() -> None:
    with pytest.raises(InvalidJob, match="command"):
        job.decode(b'{"id": "a"}')


@pytest.mark.parametrize("data", NOT_JSON)
def test_what_is_no_json_object_is_not_a_job_yet(data: bytes) -> None:
    with pytest.raises(NotJson):
        job.decode(data)


@given(
    st.dictionaries(
        st.text(max_size=5), st.text(max_size=5) | st.integers() | st.lists(st.booleans())
    )
)
def test_half_a_job_never_parses(extra: dict[str, Any]) -> None:
    fields = {**extra, **dict.fromkeys(job.FIELDS), "command": ["echo", 'ü \\ "{}']}
    known = {key: value for key, value in fields.items() if value is not None}
    whole = json.dumps(known, ensure_ascii=False).encode("utf-8", errors="replace")
    job.decode(whole)
    for length in range(len(whole)):
        with pytest.raises(NotJson):
            job.decode(whole[:length])


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    twice = job.decode(b'{"command": "false", "command": "true", "x": 1, "x": 2}')
    assert json.loads(twice.encode()) == {"command": "true", "x": 2}


def test_a_state_in_the_file_is_not_kept() -> None:
    assert b"state" not in job.decode(b'{"command": "true", "state": "done"}').encode()


@pytest.mark.parametrize(
    ("size", "is_job"), [(job.MAX_JOB_BYTES, True), (job.MAX_JOB_BYTES + 1, False)]
)
def test_a_job_file_has_at_most_a_mebibyte(size: int, is_job: bool) -> None:
    frame = b'{"command":"true","x":""}'
    data = frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')
    if is_job:
        job.decode(data)
    else:
        with pytest.raises(InvalidJob, match="1,048,576"):
            job.decode(data)


def test_a_history_may_make_a_job_larger_than_a_mebibyte() -> None:
    long = [{"attempt": n, "outcome": "lost", "error": "x" * 1000} for n in range(1, 1200)]
    assert job.decode(_document("history", long)).next_attempt == 1200


def test_a_job_that_is_accepted_is_a_job_still_when_it_is_written() -> None:
    compact = json.dumps({"command": "true", "x": [1] * 300_000}, separators=(",", ":")).encode()
    job.decode(job.decode(compact).encode())


def _nested(depth: int) -> bytes:
    return b'{"command": "true", "x": ' + b"[" * depth + b"]" * depth + b"}"


def test_the_deepest_job_that_is_accepted_can_be_written() -> None:
    accepted, refused = 1, 10**5
    while refused - accepted > 1:
        depth = (accepted + refused) // 2
        try:
            job.decode(_nested(depth))
            accepted = depth
        except InvalidJob:
            refused = depth
    job.decode(_nested(accepted)).evolve(attempts=1).encode()


@pytest.mark.parametrize("key", ["timeout", "x"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused(key: str, value: float) -> None:
    with pytest.raises(InvalidJob):
        job.build({"command": "true", key: value})


@pytest.mark.parametrize("value", [object(), {1, 2}.__iter__(), 1j])
def test_a_value_that_json_has_not_is_refused(value: object) -> None:
    with pytest.raises(InvalidJob):
        job.build({"command": "true", "x": value})

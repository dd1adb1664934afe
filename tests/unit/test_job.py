"""The codec of the job file: each field of the table, and each error with its message."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.messages import VALUES, foreign_words, refusal_of

from queuectl.errors import InvalidJob, NotJson
from queuectl.record import job, job_errors
from queuectl.record.job import Attempt

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
STAMP = "must be an RFC 3339 timestamp such as 2026-11-24T08:00:00Z"
ID = (
    "is not a valid id: an id is 1 to 100 letters, digits, '.', '_' or '-', "
    "and starts with a letter or digit"
)
COMMAND = "command must be a string or an array of strings"
PRIORITY = "priority must be a whole number that fits in 64 bits"
RETRIES = "max_retries must be a whole number of at least 0"
TIMEOUT = "timeout must be a number of seconds greater than 0"
CWD = "cwd must be an absolute path"
ENV = "env must be an object of strings"
ATTEMPTS = "attempts must be a whole number of at least 0"
HISTORY = "history must be an array of objects"
OUTCOME = "must be ok, failed, timeout, lost, cancelled or interrupted"
TWICE = "timeout is given twice, once with a wrong value"
COMMAND_TWICE = "command is missing"
INVALID: list[tuple[str, Any, str]] = [
    ("command", "", "command must not be empty"),
    ("command", " \t", "command must not be empty"),
    ("command", [], "command must not be empty"),
    ("command", [""], "command must not be empty"),
    ("command", ["true", 1], f'{COMMAND}, not ["true", 1]'),
    ("command", 7, f"{COMMAND}, not 7"),
    ("command", {"a": 1}, f'{COMMAND}, not {{"a": 1}}'),
    ("command", ["a" * 99, 1], f'{COMMAND}, not ["{"a" * 55}...'),
    ("command", None, "command is missing"),
    ("command", "a\0b", "command must not contain a NUL character"),
    ("command", ["a", "\0"], "command must not contain a NUL character"),
    ("id", "", f"'' {ID}"),
    ("id", ".hidden", f"'.hidden' {ID}"),
    ("id", "-dash", f"'-dash' {ID}"),
    ("id", "a/b", f"'a/b' {ID}"),
    ("id", "a\n", f"'a\\n' {ID}"),
    ("id", "ü", f"'ü' {ID}"),
    ("id", "x" * 101, f"'{'x' * 57}...' {ID}"),
    ("id", 7, f"7 {ID}"),
    ("priority", "high", f"{PRIORITY}, not 'high'"),
    ("priority", 1.5, f"{PRIORITY}, not 1.5"),
    ("priority", True, f"{PRIORITY}, not true"),
    ("priority", 2**63, f"{PRIORITY}, not 9223372036854775808"),
    ("priority", None, f"{PRIORITY}, not null"),
    ("run_at", "tomorrow", f"run_at {STAMP}, not 'tomorrow'"),
    ("run_at", "2026-11-24T08:00:00", f"run_at {STAMP}, not '2026-11-24T08:00:00'"),
    ("run_at", "2026-13-24T08:00:00Z", f"run_at {STAMP}, not '2026-13-24T08:00:00Z'"),
    ("run_at", 1790000000, f"run_at {STAMP}, not 1790000000"),
    ("max_retries", -1, f"{RETRIES}, not -1"),
    ("max_retries", 1.5, f"{RETRIES}, not 1.5"),
    ("max_retries", "3", f"{RETRIES}, not '3'"),
    ("timeout", 0, f"{TIMEOUT}, not 0"),
    ("timeout", -1, f"{TIMEOUT}, not -1"),
    ("timeout", "10m", f"{TIMEOUT}, not '10m'"),
    ("timeout", False, f"{TIMEOUT}, not false"),
    ("cwd", "relative", f"{CWD}, not 'relative'"),
    ("cwd", "", f"{CWD}, not ''"),
    ("cwd", "/a\0b", "cwd must not contain a NUL character"),
    ("cwd", 7, f"{CWD}, not 7"),
    ("env", [], f"{ENV}, not []"),
    ("env", {"A": "b", "C": 1}, f"{ENV}: the value of 'C' is not a string"),
    ("env", {"": "x"}, "env: '' cannot be the name of an environment variable"),
    ("env", {"A=B": "x"}, "env: 'A=B' cannot be the name of an environment variable"),
    ("env", {"A": "\0"}, "env: the value of 'A' must not contain a NUL character"),
    ("created_at", "yesterday", f"created_at {STAMP}, not 'yesterday'"),
    ("updated_at", "now", f"updated_at {STAMP}, not 'now'"),
    ("attempts", -1, f"{ATTEMPTS}, not -1"),
    ("attempts", "1", f"{ATTEMPTS}, not '1'"),
    ("attempts", None, f"{ATTEMPTS}, not null"),
    ("history", {}, f"{HISTORY}, not {{}}"),
    ("history", None, f"{HISTORY}, not null"),
    ("history", [7], "history[0] must be an object, not 7"),
    ("history", [{"attempt": 1}], "history[0].outcome is missing"),
    ("history", [DONE, {**DONE, "outcome": "so"}], f"history[1].outcome {OUTCOME}, not 'so'"),
    ("history", [{**DONE, "outcome": 1}], f"history[0].outcome {OUTCOME}, not 1"),
    ("history", [{**DONE, "log": 1}], "history[0].log must be a string, not 1"),
    ("history", [{**DONE, "finished_at": "x"}], f"history[0].finished_at {STAMP}, not 'x'"),
]
MARKED = "it begins with a byte order mark (BOM): save it as UTF-8 without one"
NO_OBJECT = "not a JSON object"
NOT_JSON = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"[]", NO_OBJECT),
    (b'"true"', NO_OBJECT),
    (b"null", NO_OBJECT),
    (b'\xef\xbb\xbf{"command": "true"}', MARKED),
    ('\ufeff{"command": "true"}'.encode("utf-16-le"), MARKED),
    (b'{"command": "\xff"}', "not UTF-8 at byte 13"),
    (b'{"command": "\xed\xa0\x80"}', "not UTF-8 at byte 13"),
    (b'{"command": "\\ud800", "x": 1}', f"{NO_OBJECT}: invalid \\u escape in a string at byte 19"),
    (b'{"command": "\\ud800"}', f"{NO_OBJECT}: its end is missing"),
    (b'{"command": "\\u12"}', f"{NO_OBJECT}: invalid \\u escape in a string at byte 18"),
    (b'{"command": "a\\qb"}', f"{NO_OBJECT}: invalid escape in a string at byte 15"),
    (b'{"command": "true", "x": NaN}', f"{NO_OBJECT}: invalid character at byte 25"),
    (b'{"command": "true", "x": -Infinity}', f"{NO_OBJECT}: invalid character at byte 26"),
    (b'{"command": "true", "x": 01}', f"{NO_OBJECT}: invalid number at byte 26"),
    (b'{"command": "true",}', f"{NO_OBJECT}: a comma before a closing bracket at byte 19"),
    (b'{"command": ["true",]}', f"{NO_OBJECT}: a comma before a closing bracket at byte 20"),
    (b'{"command": "a" "b"}', f"{NO_OBJECT}: a comma or a closing bracket is missing at byte 16"),
    (b'{"command": ["a" "b"]}', f"{NO_OBJECT}: a comma or a closing bracket is missing at byte 17"),
    (b'{"command" "true"}', f"{NO_OBJECT}: a ':' is missing after a key at byte 11"),
    (b'{"command": "true"} {}', f"{NO_OBJECT}: more text after the end at byte 21"),
    (b"{'command': 'true'}", f"{NO_OBJECT}: a key must be a string in double quotes at byte 1"),
    (b'{"command": "true"}\0', f"{NO_OBJECT}: more text after the end at byte 20"),
    (b'{"command": "tr', f"{NO_OBJECT}: its end is missing"),
    (b"hello", f"{NO_OBJECT}: invalid character at byte 0"),
    (b"\0" * 4096, f"{NO_OBJECT}: invalid character at byte 0"),
    (b'{"command": "true", "x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nested too deeply"),
]


def _document(key: str, value: Any) -> bytes:
    return json.dumps({"command": "true", key: value}).encode()


@pytest.mark.parametrize(("key", "value"), VALID)
def test_a_valid_value_is_read_as_it_is(key: str, value: Any) -> None:
    read = getattr(job.decode(_document(key, value)), key)
    assert (len(read) if key == "history" else read) == (len(value) if key == "history" else value)


@pytest.mark.parametrize(("key", "value", "message"), INVALID)
def test_an_invalid_value_is_refused_and_its_field_named(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(InvalidJob) as refusal:
        job.decode(_document(key, value))
    assert not isinstance(refusal.value, NotJson)
    assert (str(refusal.value), refusal.value.field) == (message, key)


def test_a_job_without_a_command_is_refused() -> None:
    with pytest.raises(InvalidJob, match="command is missing"):
        job.decode(b'{"id": "a"}')


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"command": "true", "timeout": 1e999}', f"{TIMEOUT}, not 1e999"),
        (b'{"command": "true", "timeout": "x", "timeout": 3}', TWICE),
        (b'{"command": "true", "timeout": 3, "timeout": "x"}', f"{TIMEOUT}, not 'x'"),
        (b'{"command": 1, "command": null}', COMMAND_TWICE),
        (b'{"command": "true", "env": {"A": 1, "A": "b"}}', f"{ENV}: some value is not a string"),
    ],
)
def test_values_that_python_does_not_write(data: bytes, message: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        job.decode(data)
    assert str(refusal.value) == message


@pytest.mark.parametrize("key", [*job.FIELDS, *Attempt.__struct_fields__])
@pytest.mark.parametrize("value", [None, *VALUES], ids=repr)
def test_no_library_speaks_to_the_user(key: str, value: Any) -> None:
    document = {"command": "true", key: value}
    if key in Attempt.__struct_fields__:
        document = {"command": "true", "history": [{**DONE, key: value}]}
    message = refusal_of(lambda: job.decode(json.dumps(document).encode()))
    assert key in message or not message
    assert not foreign_words(message)


@given(st.text(alphabet='{}[]":,\\ \ntruefals1.e-', max_size=12))
def test_no_library_speaks_of_syntax(text: str) -> None:
    message = refusal_of(lambda: job.decode(b'{"command": "true", "x": ' + text.encode() + b"}"))
    assert not foreign_words(message)


def test_there_are_words_for_every_field() -> None:
    assert {*job_errors.MUST_BE} == {*job.FIELDS}
    assert {*job_errors.ATTEMPT_MUST_BE} == {*Attempt.__struct_fields__}
    assert re.split(r", | or ", job_errors.ATTEMPT_MUST_BE["outcome"]) == [*get_args(job.Outcome)]


@pytest.mark.parametrize(("data", "message"), NOT_JSON)
def test_text_that_is_not_a_json_object_is_not_a_job_yet(data: bytes, message: str) -> None:
    with pytest.raises(NotJson) as refusal:
        job.decode(data)
    assert str(refusal.value) == message


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


def test_the_last_value_of_a_key_counts() -> None:
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
        with pytest.raises(
            InvalidJob, match="has 1,048,577 bytes; a job file has at most 1,048,576"
        ):
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


class Odd:
    def __str__(self) -> str:
        return "odd"


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("timeout", float("nan"), f"{TIMEOUT}, not nan"),
        ("timeout", float("inf"), f"{TIMEOUT}, not inf"),
        ("command", Odd(), f'{COMMAND}, not "odd"'),
        ("command", "a\udcff", "command must be text that UTF-8 can encode, not 'a\\udcff'"),
        ("x", float("nan"), "x has a value that cannot be written as JSON"),
        ("x", Odd(), "x has a value that cannot be written as JSON"),
        ("x", {1, 2}, "x has a value that cannot be written as JSON"),
        ("x", 1j, "x has a value that cannot be written as JSON"),
        ("x", CIRCLE, "x has a value that cannot be written as JSON"),
        ("x", "\ud800", "x must be text that UTF-8 can encode, not '\\ud800'"),
        ("\ud800", 1, "the name of a field must be text that UTF-8 can encode"),
    ],
)
def test_a_python_value_that_json_cannot_hold_is_refused(
    key: str, value: object, message: str
) -> None:
    with pytest.raises(InvalidJob) as refusal:
        job.build({"command": "true", key: value})
    assert str(refusal.value) == message

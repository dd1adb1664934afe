"""What parsers found wrong, in our words; and values as messages show them."""

from __future__ import annotations

import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.messages import foreign_words

from queuectl.record.wording import shown, toml_problem

DEEP = "[" * 10**5
NO_VALUE = "missing or invalid value; put text in quotation marks"


def problem_with(text: str) -> str:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return toml_problem(error)
    return ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeout = ", f"at the end: {NO_VALUE}"),
        (
            "a = 1\ntimeout = \n",
            f"line 2, column 11: {NO_VALUE}",
        ),
        (
            "timeout = soon",
            f"line 1, column 11: {NO_VALUE}",
        ),
        ("timeout", "at the end: '=' is missing after a key"),
        ("timeout 3", "line 1, column 9: '=' is missing after a key"),
        ("= 3", "line 1, column 1: a line must be KEY = VALUE, [TABLE] or a comment"),
        ("timeout = 3 4", "line 1, column 13: more text after the value"),
        ("timeout = '3", "at the end: a quotation mark is missing"),
        ('timeout = "3', "at the end: a quotation mark is missing"),
        ('timeout = "3\n', "line 1, column 13: invalid character"),
        ('on_done = "a\\q"', "line 1, column 15: invalid escape in a string"),
        ("timeout = [1, 2", "at the end: a closing ']' is missing"),
        ("[limits", "at the end: a closing ']' is missing"),
        ("a = {b = 1", "at the end: a closing '}' is missing"),
        ("a = 1\na = 2", "at the end: a name is given twice"),
        ("[a]\n[a]", "line 2, column 3: a name is given twice"),
        ("a = {b = 1, b = 2}", "line 1, column 18: a name is given twice"),
        ("a = 2026-02-30", "line 1, column 5: invalid date or time"),
        (f"a = {DEEP}", "nested too deeply"),
        (f"a = {'9' * 5000}", "a number has too many digits"),
    ],
    ids=lambda text: text[:20],
)
def test_a_syntax_error_of_toml(text: str, message: str) -> None:
    assert problem_with(text) == message


@given(st.text(alphabet="ab=[]{}.,\"'\\#\n 13-:tu", max_size=12))
def test_no_library_speaks_of_toml(text: str) -> None:
    assert not foreign_words(problem_with(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("soon", "'soon'"),
        ("x" * 100, f"'{'x' * 57}...'"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (date(2026, 11, 24), "2026-11-24"),
        ([1, "a", date(2026, 11, 24)], '[1, "a", "2026-11-24"]'),
        ({"a": [True]}, '{"a": [true]}'),
        (10**5000, "a number with too many digits"),
        ({(1, 2): 3}, "a value of type dict"),
    ],
    ids=lambda value: str(type(value)),
)
def test_a_value_is_shown(value: Any, text: str) -> None:
    assert shown(value) == text

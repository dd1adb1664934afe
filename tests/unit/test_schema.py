"""The published JSON Schema says what the codec does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # its types are a package apart
    Draft202012Validator,
    FormatChecker,
)

from queuectl.clock import parse_timestamp
from queuectl.errors import InvalidInput, InvalidJob
from queuectl.record import job

CHECKER = FormatChecker(formats=())
CHECKER.checks("date-time", raises=InvalidInput)(
    lambda value: not isinstance(value, str) or parse_timestamp(value) is not None
)
VALUES: dict[str, list[Any]] = {
    "command": ["true", "", ["a"], ["a", ""], [], [1], 1, None, {}],
    "id": ["a", "a.b-c_D", "", ".a", "a/b", "x" * 100, "x" * 101, 7, None],
    "priority": [0, -1, 2**63 - 1, 2**63, 1.5, "1", True, None],
    "run_at": ["2026-11-24T08:00:00Z", "soon", 7, None],
    "max_retries": [0, 3, -1, 1.5, "1", None],
    "timeout": [1, 0.5, 0, -1, "1m", None],
    "cwd": ["/", "/a", "a", "", 7, None],
    "env": [{}, {"A": "b"}, {"A": 1}, [], None],
    "created_at": ["2026-11-24T08:00:00Z", "2026-11-24", None],
    "updated_at": ["2026-11-24T08:00:00+01:00", "x", None],
    "attempts": [0, 1, -1, "1", None],
    "history": [
        [],
        [{"attempt": 1, "outcome": "ok", "exit_code": 0, "other": 1}],
        [{"attempt": 1, "outcome": "well"}],
        [{"outcome": "ok"}],
        [{"attempt": -1, "outcome": "ok"}],
        {},
        None,
    ],
    "anything": [None, 1, "x", {"a": []}],
}


def _accepts(document: dict[str, Any]) -> bool:
    try:
        job.decode(json.dumps(document).encode())
    except InvalidJob:
        return False
    return True


def _validator() -> Draft202012Validator:
    return Draft202012Validator(job.schema(), format_checker=CHECKER)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": "a"},
        *({"command": "true", key: value} for key, values in VALUES.items() for value in values),
    ],
    ids=repr,
)
def test_the_schema_accepts_what_the_codec_accepts(document: dict[str, Any]) -> None:
    assert _validator().is_valid(document) == _accepts(document)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(job.schema())


def test_the_schema_describes_every_field() -> None:
    properties = job.schema()["properties"]
    assert [*properties] == [*job.FIELDS]
    assert all(spec.get("description") for spec in properties.values())

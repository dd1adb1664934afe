"""Which ends of a job are events, and what a hook is told of them: pure."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.record import hook_event
from queuectl.record.encoding import encode
from queuectl.record.hook_event import Marker
from queuectl.record.job import Attempt, Job, Outcome, State, build
from queuectl.record.settings import Settings

HOOKS = Settings(on_done="say done", on_dead="say dead")


def _job(outcome: Outcome = "failed", **fields: Any) -> Job:
    job = build({"command": "true", "created_at": "2026-01-01T00:00:00Z", **fields})
    entry = Attempt(
        attempt=1, outcome=outcome, exit_code=3, error="exit status 3", worker="w",
        log="logs/a.1.log",
    )  # fmt: skip
    return job.with_attempt(entry, attempts=1)


def _told(marker: Marker, **options: Any) -> dict[str, str]:
    given = {"root": "/s", "log": None, "job_id": None, "job_file": None, **options}
    return hook_event.environment(marker, **given)


@pytest.mark.parametrize(
    ("target", "outcome", "event"),
    [
        ("completed", "ok", "done"),
        ("dead", "failed", "dead"),
        ("dead", "timeout", "dead"),
        ("dead", "lost", "dead"),
        ("dead", "cancelled", None),
        ("failed", "failed", None),
        ("pending", "interrupted", None),
    ],
)
def test_a_job_that_ends_by_itself_is_an_event(
    target: State, outcome: Outcome, event: str | None
) -> None:
    assert hook_event.event_of(target, Attempt(attempt=1, outcome=outcome)) == event


def test_a_rejected_file_is_an_event() -> None:
    assert hook_event.event_of("dead", None) == "dead"


@pytest.mark.parametrize(
    ("event", "command"),
    [("done", "say done"), ("dead", "say dead"), ("idle", None), (None, None)],
)
def test_each_event_has_its_setting(event: Any, command: str | None) -> None:
    assert hook_event.hook_for(event, HOOKS) == command


def test_a_hook_gets_all_facts_of_its_job() -> None:
    marker = hook_event.of_attempt("dead", "a", _job(), "dead")
    told = _told(marker, job_id="a.2", job_file="/s/dead/a.2.json", log="/s/logs/a.1.log")
    assert told == {
        "QUEUECTL_SPOOL": "/s",
        "QUEUECTL_EVENT": "dead",
        "QUEUECTL_JOB_ID": "a.2",
        "QUEUECTL_JOB_FILE": "/s/dead/a.2.json",
        "QUEUECTL_STATE": "dead",
        "QUEUECTL_OUTCOME": "failed",
        "QUEUECTL_ATTEMPT": "1",
        "QUEUECTL_ATTEMPTS": "1",
        "QUEUECTL_EXIT_CODE": "3",
        "QUEUECTL_ERROR": "exit status 3",
        "QUEUECTL_COMMAND": "true",
        "QUEUECTL_LOG": "/s/logs/a.1.log",
        "QUEUECTL_WORKER": "w",
    }


def test_a_variable_that_does_not_apply_is_not_set() -> None:
    assert _told(Marker(event="idle")) == {"QUEUECTL_SPOOL": "/s", "QUEUECTL_EVENT": "idle"}
    told = _told(hook_event.of_reject("a", "not valid JSON", "pending/a.json"))
    assert told == {
        "QUEUECTL_SPOOL": "/s",
        "QUEUECTL_EVENT": "dead",
        "QUEUECTL_JOB_ID": "a",
        "QUEUECTL_STATE": "dead",
        "QUEUECTL_ERROR": "not valid JSON",
    }


def test_an_array_is_quoted_for_a_shell() -> None:
    marker = hook_event.of_attempt("done", "a", _job("ok", command=["echo", "a b", "$(x)"]), "dead")
    assert _told(marker)["QUEUECTL_COMMAND"] == "echo 'a b' '$(x)'"


def test_every_variable_is_listed() -> None:
    marker = Marker(
        event="dead", id="a", attempt=1, state="dead", outcome="failed", attempts=1, exit_code=1,
        signal="SIGKILL", error="e", command="c", log="l", worker="w",
    )  # fmt: skip
    told = _told(marker, job_id="a", job_file="/s/dead/a.json", log="/s/l")
    assert set(told) == set(hook_event.VARIABLES)


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "ü" * 90_000, "nul\0here", "\0" * 200_000, "half \ud800 pair", "\n'\"$(id)"],
    ids=["long", "long and wide", "nul", "nuls", "half", "shell"],
)
def test_every_value_is_fit_for_an_environment(text: str) -> None:
    told = _told(Marker(event="dead", id="a", state="dead", error=text, command=text))
    done = subprocess.run(
        ["/bin/sh", "-c", 'printf %s "$QUEUECTL_ERROR"'],
        env={os.fsencode(key): os.fsencode(value) for key, value in told.items()},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == told["QUEUECTL_ERROR"]
    assert told["QUEUECTL_ERROR"].startswith(text[:4].replace("\0", "\ufffd"))


@given(st.text(alphabet=st.characters(codec=None), max_size=40))  # lone surrogates too
def test_a_marker_is_read_as_it_was_written_whatever_its_job_contains(text: str) -> None:
    marker = hook_event.of_reject("a", text, text)
    assert msgspec.json.decode(encode(marker), type=Marker) == marker

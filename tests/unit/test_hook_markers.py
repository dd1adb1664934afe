"""What is an event, and what its hook is told: pure."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.record.encoding import encode
from queuectl.record.job import Attempt, Job, Outcome, State, build
from queuectl.record.settings import Settings
from queuectl.spool import hook_markers
from queuectl.spool.hook_markers import Marker
from queuectl.spool.places import Place

HOOKS = Settings(on_done="say done", on_dead="say dead")


def _job(outcome: Outcome = "failed", **fields: Any) -> Job:
    job = build({"command": "true", "created_at": "2026-01-01T00:00:00Z", **fields})
    entry = Attempt(
        attempt=1, outcome=outcome, exit_code=3, error="exit status 3", worker="w",
        log="logs/a.1.log",
    )  # fmt: skip
    return job.with_attempt(entry, attempts=1)


def _told(marker: Marker, **options: Any) -> dict[str, str]:
    return hook_markers.environment(marker, **{"root": "/s", "place": None, "log": None, **options})


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
def test_an_event_is_a_job_that_has_ended_by_itself(
    target: State, outcome: Outcome, event: str | None
) -> None:
    assert hook_markers.event_of(target, Attempt(attempt=1, outcome=outcome)) == event


def test_a_file_that_is_no_job_is_given_up_on() -> None:
    assert hook_markers.event_of("dead", None) == "dead"


@pytest.mark.parametrize(
    ("event", "command"),
    [("done", "say done"), ("dead", "say dead"), ("idle", None), (None, None)],
)
def test_each_event_has_its_setting(event: Any, command: str | None) -> None:
    assert hook_markers.hook_for(event, HOOKS) == command


def test_a_hook_is_told_all_that_is_known_of_its_job() -> None:
    marker = hook_markers.of_attempt("dead", "a", _job(), "dead")
    place = Place("dead", "a.2", "/s/dead/a.2.json")
    assert _told(marker, place=place, log="/s/logs/a.1.log") == {
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


def test_what_does_not_apply_is_not_there() -> None:
    assert _told(Marker(event="idle")) == {"QUEUECTL_SPOOL": "/s", "QUEUECTL_EVENT": "idle"}
    told = _told(hook_markers.of_reject("a", "no JSON", "pending/a.json"))
    assert told == {
        "QUEUECTL_SPOOL": "/s",
        "QUEUECTL_EVENT": "dead",
        "QUEUECTL_JOB_ID": "a",
        "QUEUECTL_STATE": "dead",
        "QUEUECTL_ERROR": "no JSON",
    }


def test_an_array_is_told_as_a_shell_would_read_it() -> None:
    marker = hook_markers.of_attempt(
        "done", "a", _job("ok", command=["echo", "a b", "$(x)"]), "dead"
    )
    assert _told(marker)["QUEUECTL_COMMAND"] == "echo 'a b' '$(x)'"


def test_every_variable_is_one_of_those_that_are_listed() -> None:
    marker = Marker(
        event="dead", id="a", attempt=1, state="dead", outcome="failed", attempts=1, exit_code=1,
        signal="SIGKILL", error="e", command="c", log="l", worker="w",
    )  # fmt: skip
    place = Place("dead", "a", "/s/dead/a.json")
    assert set(_told(marker, place=place, log="/s/l")) == set(hook_markers.VARIABLES)


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "ü" * 90_000, "nul\0here", "\0" * 200_000, "half \ud800 pair", "\n'\"$(id)"],
    ids=["long", "long and wide", "nul", "nuls", "half", "shell"],
)
def test_no_value_is_one_that_a_program_cannot_be_given(text: str) -> None:
    told = _told(Marker(event="dead", id="a", state="dead", error=text, command=text))
    done = subprocess.run(
        ["/bin/sh", "-c", 'printf %s "$QUEUECTL_ERROR"'],
        env={os.fsencode(key): os.fsencode(value) for key, value in told.items()},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == told["QUEUECTL_ERROR"]
    assert told["QUEUECTL_ERROR"].startswith(text[:4].replace("\0", "\ufffd"))


@given(st.text(alphabet=st.characters(codec=None), max_size=40))  # half characters too
def test_a_marker_comes_back_as_it_was_written_whatever_a_job_says(text: str) -> None:
    marker = hook_markers.of_reject("a", text, text)
    assert msgspec.json.decode(encode(marker), type=Marker) == marker

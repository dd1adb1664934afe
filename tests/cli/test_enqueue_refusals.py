"""`enqueue` from stdin, and what it refuses: with one line, an exit code, and nothing enqueued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.commands import Eventually, Queuectl, Spool, StartWorker

GOOD = '{"id":"a","command":"true"}'
OTHER = '{"id":"b","command":"true"}'


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\n{OTHER}\n",
        f"{GOOD}\n{OTHER}",
        f"\n\n{GOOD}\n   \n\t\n{OTHER}\n\n",
        f"{GOOD}\r\n{OTHER}\r\n",
        f"\r\n{GOOD}\r\n\r\n{OTHER}",
        f"[{GOOD},{OTHER}]",
        f"\n  [\n  {GOOD},\n  {OTHER}\n  ]\n",
        json.dumps([json.loads(GOOD), json.loads(OTHER)], indent=4),
    ],
    ids=[
        "lines",
        "no newline at the end",
        "blank lines",
        "CRLF",
        "CRLF and blank lines",
        "an array",
        "an array over lines",
        "an indented array",
    ],
)
def test_stdin_has_jobs_in_lines_or_in_an_array(
    queuectl: Queuectl, spool: Spool, text: str
) -> None:
    queuectl("enqueue", "-", input=text)
    assert [path.stem for path in spool.files("pending")] == ["a", "b"]


def test_stdin_may_be_a_file(queuectl: Queuectl, spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text(f"{GOOD}\n{OTHER}\n")
    with (tmp_path / "jobs").open() as file:
        queuectl.start("enqueue", "-", stdin=file).communicate(timeout=60)
    assert spool.is_in("pending", "a", "b")


def test_stdin_may_be_one_indented_object(queuectl: Queuectl, spool: Spool) -> None:
    queuectl("enqueue", "-", input=json.dumps(json.loads(GOOD), indent=2))
    assert spool.is_in("pending", "a")


def test_a_job_file_of_ours_is_enqueued_as_it_stands(queuectl: Queuectl, spool: Spool) -> None:
    queuectl("enqueue", GOOD)
    text = spool.where("a")[1].read_text()
    spool.where("a")[1].unlink()
    queuectl("enqueue", "-", input=text)
    assert spool.is_in("pending", "a")


@pytest.mark.parametrize("text", ["", "\n\n", "[]"], ids=["nothing", "blank lines", "empty array"])
def test_an_empty_input_enqueues_nothing(queuectl: Queuectl, spool: Spool, text: str) -> None:
    result = queuectl("enqueue", "-", input=text)
    assert result.out == ""
    assert not spool.root.exists() or spool.count("pending") == 0


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (f"{GOOD}\n{{broken\n{OTHER}\n", "line 2", "not a JSON object"),
        (f"{GOOD}\n\n[1]\n", "line 3", "not a JSON object"),
        (f'{{"id":"b"}}\n{GOOD}\n', "line 1", "command"),
        (f'{GOOD}\n{{"command":"true","priority":"high"}}\n', "line 2", "priority"),
        (f'{GOOD}\n{{"command":"true","id":"../x"}}\n', "line 2", "id"),
        (f"{GOOD}\n{OTHER[:-4]}", "line 2", "not a JSON object"),
        (f'[{GOOD}, {{"command":""}}]', "item 2", "command"),
        (f"[{GOOD}, 3]", "item 2", "not a JSON object"),
        (f"[{GOOD},", "", "not a JSON array"),
        (b'\xff\xfe{"command":"true"}\n', "line 1", "UTF-8"),
        ("hello\n", "line 1", "not a JSON object"),
        ('{\n "command": "true",\n', "line 1", "not a JSON object"),
    ],
)
def test_one_bad_line_refuses_all_and_is_named(
    queuectl: Queuectl, spool: Spool, text: str, place: str, reason: str
) -> None:
    message = queuectl.error("enqueue", "-", input=text)
    assert place in message
    assert reason in message
    assert not spool.root.exists() or spool.count("pending") == 0


def test_an_id_that_stands_in_the_input_twice_refuses_all(queuectl: Queuectl, spool: Spool) -> None:
    assert "a" in queuectl.error("enqueue", "-", input=f"{GOOD}\n{OTHER}\n{GOOD}\n", code=1)
    assert spool.count("pending") == 0


def test_an_id_that_is_taken_refuses_all(queuectl: Queuectl, spool: Spool) -> None:
    queuectl("enqueue", GOOD)
    assert "a exists already" in queuectl.error("enqueue", "-", input=f"{OTHER}\n{GOOD}\n", code=1)
    assert spool.count("pending") == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["one", "--", "two"],
        ["two", "words"],
        ["--priority", "high", "true"],
        ["--priority", "1.5", "true"],
        ["--priority", str(2**70), "true"],
        ["--max-retries", "-1", "true"],
        ["--timeout", "0", "true"],
        ["--timeout", "-1", "true"],
        ["--timeout", "soon", "true"],
        ["--delay", "tomorrow", "true"],
        ["--delay", "-5", "true"],
        ["--delay", "9" * 30, "true"],
        ["--run-at", "noon", "true"],
        ["--run-at", "2026-13-01T00:00:00Z", "true"],
        ["--delay", "1m", "--run-at", "08:00", "true"],
        ["--env", "NOVALUE", "true"],
        ["--env", "=x", "true"],
        ["--id", "", "true"],
        ["--id", "../x", "true"],
        ["--id", "a/b", "true"],
        ["--id", ".hidden", "true"],
        ["--id", "a b", "true"],
        ["--id", "a\nb", "true"],
        ["--id", "ä", "true"],
        ["--id", "x" * 101, "true"],
        ["--id", "one", "-"],
        ["--no-such-option", "true"],
        ["--id"],
        [""],
        ["   "],
        ["--", ""],
        ["{ echo hi; }"],
        ["{}"],
        ["{"],
        ['{"command":""}'],
        ['{"command":[]}'],
        ['{"command":["", "x"]}'],
        ['{"command":"a\\u0000b"}'],
        ['{"command":["a", "b\\u0000"]}'],
        ['{"command":"true","env":{"A":1}}'],
        ['{"command":"true","env":{"A=B":"1"}}'],
        ['{"command":"true","cwd":"here"}'],
        ['{"command":"true","run_at":"2026-01-01 10:00"}'],
        ['{"command":"true","timeout":-1}'],
        ['{"command":"true","id":7}'],
        ['{"command":' + "[" * 20_000],
    ],
    ids=lambda words: " ".join(words)[:40] or "nothing",
)
def test_bad_input_is_refused_in_one_line(
    queuectl: Queuectl, spool: Spool, words: list[str]
) -> None:
    queuectl.error("enqueue", *words)
    assert not spool.root.exists() or spool.count("pending") == 0


def test_a_shell_group_is_told_apart_from_json(queuectl: Queuectl) -> None:
    assert "sh -c" in queuectl.error("enqueue", "{ echo hi; }")


def test_a_shell_group_runs_as_the_message_says(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", "--id", "a", "--", "sh", "-c", "{ echo hi; }")
    worker()
    eventually(lambda: spool.is_in("completed", "a"))
    assert queuectl("logs", "a").out == "hi\n"


def test_a_job_of_two_megabytes_is_refused(queuectl: Queuectl, spool: Spool) -> None:
    line = json.dumps({"command": "true", "data": "x" * (2 << 20)})
    assert "1,048,576" in queuectl.error("enqueue", "-", input=line)
    assert spool.count("pending") == 0


def test_an_argument_that_is_not_utf8_is_refused_in_one_line(queuectl: Queuectl) -> None:
    queuectl.error("enqueue", b"echo \xff")


def test_an_option_before_its_command_is_explained(queuectl: Queuectl) -> None:
    queuectl.error("--priority", "3", "enqueue", "true")


@pytest.mark.parametrize("words", [["no-such-command"], ["worker", "no-such"], ["dlq", "x"]])
def test_a_command_that_is_none_is_refused_in_one_line(
    queuectl: Queuectl, words: list[str]
) -> None:
    assert words[-1] in queuectl.error(*words)

"""Forms: what they change, and their errors for invalid input."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from queuectl import Queue
from queuectl.record.settings import describe


def error_at(text: str, field: str) -> str:
    found = re.search(rf'id="e-{field}">([^<]+)<', text)
    assert found, f"nothing is said beside {field}"
    assert re.search(rf'<(?:input|textarea)[^>]*aria-describedby="[^"]*e-{field}"', text)
    return found[1]


def test_a_shell_command_is_enqueued_with_its_fields(queue: Queue, client: Any) -> None:
    client.send_form(
        "/enqueue",
        command="make\r\nmake install",
        id="one",
        priority="-3",
        max_retries="0",
        timeout="1h30m",
        cwd="/srv",
        env="A=1\r\nB=two words=yes",
        delay="10m",
    )
    job = queue.get("one").job
    assert job is not None
    assert job.command == "make\nmake install"
    assert (job.priority, job.max_retries, job.timeout, job.cwd) == (-3, 0, 5400, "/srv")
    assert job.env == {"A": "1", "B": "two words=yes"}
    assert job.run_at is not None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("command", "   ", "the command is empty"),
        ("id", "a/b", "an id is 1 to 100 letters"),
        ("priority", "high", "not a whole number"),
        ("priority", "9" * 30, "fits in 64 bits"),
        ("max_retries", "-1", "at least 0"),
        ("timeout", "soon", "not a duration"),
        ("timeout", "0", "greater than 0"),
        ("delay", "soon", "not a duration"),
        ("run_at", "tomorrow", "not a time"),
        ("cwd", "here", "an absolute path"),
        ("env", "PATH", "KEY=VALUE"),
        ("env", "=x", "environment variable"),
    ],
)
def test_an_error_is_shown_beside_its_field_and_the_input_is_kept(
    queue: Queue, client: Any, field: str, value: str, said: str
) -> None:
    answer = client.send_form("/enqueue", **{"command": "echo kept", field: value})
    assert answer.status_code == 400
    assert said in error_at(answer.text, field)
    assert field == "command" or "echo kept" in answer.text
    assert queue.list() == []


def test_a_taken_id_is_shown_beside_the_id(queue: Queue, client: Any) -> None:
    queue.enqueue("true", id="one")
    answer = client.send_form("/enqueue", command="true", id="one")
    assert answer.status_code == 409
    assert "exists already" in error_at(answer.text, "id")


def test_a_delay_and_a_time_cannot_be_combined(client: Any) -> None:
    answer = client.send_form("/enqueue", command="true", delay="1m", run_at="08:00")
    assert "not both" in error_at(answer.text, "delay")


@pytest.mark.parametrize(
    "text",
    [
        '[{"command": "true", "id": "a"}, {"command": ["true"], "id": "b"}]',
        '{"command": "true", "id": "a"}\r\n\r\n{"command": ["true"], "id": "b"}\r\n',
    ],
)
def test_many_jobs_are_enqueued_as_json(queue: Queue, client: Any, text: str) -> None:
    answer = client.send_form("/enqueue/json", json=text)
    assert "2 jobs enqueued" in answer.text
    assert {status.id for status in queue.list()} == {"a", "b"}


def test_one_job_as_json_over_many_lines_keeps_its_other_keys(queue: Queue, client: Any) -> None:
    text = json.dumps({"command": "true", "id": "a", "note": {"x": 1}}, indent=2)
    assert client.send_form("/enqueue/json", json=text).headers["location"] == "/jobs/a"
    assert queue.get("a").to_dict()["note"] == {"x": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to enqueue"),
        ("[]", "nothing to enqueue"),
        ("nonsense", "not a JSON object"),
        ('{"command": "true"}\n{"comm": 1}', "line 2"),
        ('[{"command": "true"}, 7]', "item 2"),
        ("[1,", "not a JSON array"),
        ('{"command": 7}', "command"),
        ("[" * 100_000, "not a JSON array"),
    ],
)
def test_json_that_is_not_valid_enqueues_nothing(
    queue: Queue, client: Any, text: str, said: str
) -> None:
    answer = client.send_form("/enqueue/json", json=text)
    assert answer.status_code == 400
    assert said in error_at(answer.text, "json")
    assert queue.list() == []


def test_a_waiting_job_is_cancelled_and_retried(queue: Queue, client: Any) -> None:
    queue.enqueue("true", id="one")
    answer = client.send_form("/jobs/one/cancel")
    assert answer.headers["location"] == "/jobs/one?notice=cancelled"
    assert queue.get("one").state == "dead"
    assert "Cancelled." in client.get("/jobs/one?notice=cancelled").text
    client.send_form("/jobs/one/retry")
    assert queue.get("one").state == "pending"


@pytest.mark.parametrize("change", ["cancel", "retry"])
def test_a_change_on_the_page_of_a_removed_job_reaches_no_other_job(
    queue: Queue, client: Any, change: str
) -> None:
    queue.enqueue("true", id="mail-10", delay=3600)
    if change == "retry":
        queue.cancel("mail-10")
    before = queue.get("mail-10")
    assert client.send_form(f"/jobs/mail-1/{change}").status_code == 404
    assert client.send_form("/dead/retry", id="mail-1").status_code == 303
    assert queue.get("mail-10") == before


def test_what_a_page_says_cannot_be_put_into_its_address(queue: Queue, client: Any) -> None:
    queue.enqueue("true", id="one")
    assert 'class="flash"' not in client.get("/jobs/one?notice=Send+money+to").text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/jobs/none/cancel", 404), ("/jobs/none/retry", 404), ("/jobs/over/cancel", 409)],
)
def test_an_impossible_change_is_an_error(
    queue: Queue, client: Any, drain: Callable[..., Any], path: str, status: int
) -> None:
    queue.enqueue("true", id="over")
    drain(queue)
    answer = client.send_form(path)
    assert answer.status_code == status
    assert "data-refusal" in answer.text


@pytest.fixture
def dead(queue: Queue) -> Queue:
    for number in range(5):
        queue.enqueue("true", id=f"dead-{number}")
        queue.cancel(f"dead-{number}")
    return queue


def states(queue: Queue) -> dict[str, int]:
    return {str(state): count for state, count in queue.status().jobs.items() if count}


def test_the_selected_dead_jobs_are_retried(dead: Queue, client: Any) -> None:
    client.send_form("/dead/retry", id=["dead-1", "dead-3"])
    assert states(dead) == {"pending": 2, "dead": 3}
    assert "2 jobs moved back to pending" in client.get("/dead").text


def test_all_dead_jobs_are_retried_and_those_that_cannot_be_are_named(
    dead: Queue, client: Any, drop: Callable[..., Any]
) -> None:
    drop("broken.json", "{", state="dead")
    client.send_form("/dead/retry-all")
    assert states(dead) == {"pending": 5, "dead": 1}
    text = client.get("/dead").text
    assert "5 jobs moved back to pending; 1 problem: broken " in text


def test_no_selection_is_an_error(dead: Queue, client: Any) -> None:
    assert client.send_form("/dead/retry").status_code == 400
    assert states(dead) == {"dead": 5}


def test_dead_jobs_are_purged_only_after_confirmation(dead: Queue, client: Any) -> None:
    assert client.send_form("/dead/purge", older_than="0").status_code == 400
    assert client.send_form("/dead/purge", older_than="x", sure="yes").status_code == 400
    client.send_form("/dead/purge", older_than="1h", sure="yes")
    assert states(dead) == {"dead": 5}
    client.send_form("/dead/purge", older_than="0", sure="yes")
    assert states(dead) == {}


def test_a_setting_is_changed_and_goes_back_to_its_default(queue: Queue, client: Any) -> None:
    assert client.send_form("/settings/max_retries", value="7").status_code == 303
    assert queue.setting("max_retries") == 7
    client.send_form("/settings/max_retries", value="7", default="1")
    assert queue.setting("max_retries") == 3


def form_of(text: str, **edits: str) -> dict[str, str]:
    """Return what the form of the settings sends after some edits."""
    was = dict(re.findall(r'name="(was-\w+)" value="([^"]*)"', text))
    fields = {key: html.unescape(value) for key, value in was.items()}
    return {**fields, **{key.removeprefix("was-"): fields[key] for key in fields}, **edits}


def test_all_edits_are_saved_and_nothing_else(queue: Queue, client: Any) -> None:
    form = form_of(client.get("/settings").text, max_retries="7", timeout="90")
    queue.set_setting("kill_grace", "4")  # by somebody else meanwhile
    assert client.send_form("/settings", **form).status_code == 303
    assert (queue.setting("max_retries"), queue.setting("timeout")) == (7, 90)
    assert queue.setting("kill_grace") == 4


def test_an_edit_that_cannot_be_saved_holds_up_no_other_and_stays_in_its_field(
    queue: Queue, client: Any
) -> None:
    form = form_of(client.get("/settings").text, max_retries="7", timeout="soon")
    answer = client.send_form("/settings", **form)
    assert answer.status_code == 400
    assert "not a duration" in error_at(answer.text, "timeout")
    assert 'value="soon"' in answer.text
    assert queue.setting("max_retries") == 7


def test_a_reset_keeps_the_edits_of_the_other_fields(queue: Queue, client: Any) -> None:
    queue.set_setting("max_retries", "7")
    form = form_of(client.get("/settings").text, max_retries="8", timeout="90")
    answer = client.send_form("/settings", default="max_retries", **form)
    assert (queue.setting("max_retries"), queue.setting("timeout")) == (3, None)
    assert 'name="timeout" value="90"' in answer.text
    assert 'name="was-timeout" value=""' in answer.text
    assert "Reset to the default." in answer.text


def test_an_empty_value_is_none_where_that_is_the_default(queue: Queue, client: Any) -> None:
    queue.set_setting("timeout", "90")
    assert client.send_form("/settings/timeout", value=" ").status_code == 303
    assert queue.setting("timeout") is None


def test_every_setting_has_a_form_that_takes_back_what_it_shows(queue: Queue, client: Any) -> None:
    """This covers new settings too; those that are text may contain line ends and quotes."""
    for info in describe().values():
        is_text = getattr(info, "is_text", False)
        if is_text:
            command = "echo \"a = 1\"\r\necho '</textarea><b>'"
            assert client.send_form(f"/settings/{info.name}", value=command).status_code == 303
        before = queue.setting(info.name)
        text = client.get("/settings").text
        assert "</textarea><b>" not in text
        mark = rf'[^>]* id="s-{info.name}"[^>]*>'
        field = re.search(
            rf"<input{mark}|<select{mark}.*?</select>|<textarea{mark}.*?</textarea>",
            text,
            re.DOTALL,
        )
        assert field, info.name
        if is_text:
            assert before == command.replace("\r\n", "\n")
            shown = html.unescape(field[0].partition(">\n")[2].removesuffix("</textarea>"))
        elif chosen := re.search(r"<option selected>([^<]*)", field[0]):
            shown = chosen[1]
        else:
            value = re.search(r'value="([^"]*)"', field[0])
            assert value
            shown = html.unescape(value[1])
        assert client.send_form(f"/settings/{info.name}", value=shown).status_code == 303
        assert queue.setting(info.name) == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max_retries", "-1", "not -1"),
        ("timeout", "0", "greater than 0"),
        ("backoff_jitter", "2", "from 0 to 1"),
        ("keep_done", "soon", "not a duration"),
        ("max_retries", "", "must not be empty"),
    ],
)
def test_an_invalid_value_is_shown_beside_its_setting(
    queue: Queue, client: Any, key: str, value: str, said: str
) -> None:
    answer = client.send_form(f"/settings/{key}", value=value)
    assert answer.status_code == 400
    assert said in error_at(answer.text, key)
    assert f'value="{value}"' in answer.text


def test_an_unknown_setting_is_refused(client: Any) -> None:
    assert client.send_form("/settings/max_retrys", value="1").status_code == 400


def test_a_broken_settings_file_is_reported_and_not_changed(queue: Queue, client: Any) -> None:
    path = queue.spool.layout.settings
    with open(path, "w") as file:
        file.write("max_retries = [")
    answer = client.get("/settings")
    assert answer.status_code == 200
    assert "Fix the file in an editor" in answer.text
    assert client.send_form("/settings/max_retries", value="1").status_code == 400
    with open(path) as file:
        assert file.read() == "max_retries = ["


def test_a_body_that_is_not_a_form_is_refused(queue: Queue, client: Any) -> None:
    for body, kind in (
        (b"command=true", "text/plain"),
        (b"command=" + b"x" * (9 << 20), "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(3000)), "application/x-www-form-urlencoded"),
        (b"command=\xff", "application/x-www-form-urlencoded"),
    ):
        headers = {"Origin": "http://127.0.0.1:8374", "Content-Type": kind}
        assert client.post("/enqueue", content=body, headers=headers).status_code == 400
    assert queue.list() == []

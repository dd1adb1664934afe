"""What each page answers, without a browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from queuectl import Queue
from queuectl.web.access import Access
from queuectl.web.app import make_app, routes

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
PAGES = ("/", "/jobs", "/dead", "/workers", "/enqueue", "/settings")


@pytest.fixture
def settled(queue: Queue, drain: Callable[..., Any]) -> Queue:
    """A queue with a job in each state but processing."""
    queue.enqueue("echo good; printf 'not \\377 utf-8'", id="good")
    queue.enqueue("echo bad; exit 3", id="bad", max_retries=0)
    drain(queue)
    queue.enqueue("exit 4", id="again", max_retries=1)
    queue.enqueue("echo later", id="later", delay=3600)
    return queue


@pytest.mark.parametrize("path", [*PAGES, "/jobs/good", "/jobs/bad", "/jobs/later"])
def test_a_page_is_html_with_landmarks_and_one_heading(
    settled: Queue, client: Any, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for mark in ("<main", "<header", "<nav", 'lang="en"', "<h1"):
        assert mark in answer.text
    assert answer.text.count("<h1") == 1


@pytest.mark.parametrize("path", [*PAGES, "/jobs/good", "/nothing", "/static/app.js"])
def test_every_answer_carries_the_headers_that_bind_the_browser(
    settled: Queue, client: Any, path: str
) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/jobs/good"])
def test_no_page_has_inline_script_or_style_or_a_foreign_address(
    settled: Queue, client: Any, path: str
) -> None:
    text = client.get(path).text
    assert re.findall(r"<script(?![^>]*src=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []
    assert re.findall(r'(?:src|href|action)="(?!/|\?|#)', text) == []


def test_the_counts_are_on_the_overview(settled: Queue, client: Any) -> None:
    text = client.get("/").text
    for state, count in settled.status().jobs.items():
        assert f'data-count="{state}">{count}<' in text


def test_the_chart_is_a_table_too(settled: Queue, client: Any) -> None:
    text = client.get("/?span=5m").text
    assert "1 completed, 0 failed attempts, 1 dead" in text
    rows = re.findall(r"</th>" + r'<td class="num">(\d+)</td>' * 3, text)
    assert [sum(map(int, column)) for column in zip(*rows, strict=True)] == [1, 0, 1]


def test_the_chart_counts_the_attempts_of_a_job_that_was_retried_once_each(
    queue: Queue, client: Any, drain: Callable[..., Any]
) -> None:
    queue.enqueue('test "$QUEUECTL_ATTEMPT" = 3', id="third", max_retries=5)
    client.get("/")
    drain(queue)
    client.get("/")
    assert "1 completed, 2 failed attempts, 0 dead" in client.get("/").text


def test_the_first_attempt_counts_while_it_runs(
    queue: Queue, client: Any, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    queue.enqueue("sleep 60", id="runs")

    def script(worker: Any) -> None:
        eventually(lambda: queue.get("runs").pid)
        pages = client.get("/jobs/runs").text, client.get("/jobs").text
        worker.stop_now()
        worker._watch.notify()
        assert "<dt>Attempts</dt><dd>1<" in pages[0]
        assert 'class="num attempts">1<' in pages[1]

    work(queue, script)
    assert "<dt>Attempts</dt><dd>0<" in client.get("/jobs/runs").text  # interrupted: not counted
    assert 'class="num attempts">0<' in client.get("/jobs").text


def test_a_retried_job_that_waits_has_no_reason(settled: Queue, client: Any) -> None:
    assert "exit status 3" in client.get("/jobs?q=bad").text
    settled.retry("bad")
    assert "exit status 3" not in client.get("/jobs?q=bad").text


def test_a_job_shows_its_record_its_history_and_its_log(settled: Queue, client: Any) -> None:
    text = client.get("/jobs/bad").text
    assert "exit status 3" in text
    assert ">bad\n</pre>" in text
    assert "&#34;max_retries&#34;: 0" in text


def test_the_environment_is_among_the_facts(queue: Queue, client: Any) -> None:
    queue.enqueue("true", id="a", env={"LANG": "C", "NOTE": "<b> two\u202e"})
    text = client.get("/jobs/a").text
    assert "<dt>Environment</dt><dd>" in text
    assert ">LANG=C\nNOTE=&lt;b&gt; two\\u202e</pre>" in text


def test_the_reason_of_a_dead_job_has_the_last_line_of_its_log(
    queue: Queue, client: Any, drain: Callable[..., Any]
) -> None:
    said = "printf 'one\\n\\033[31mno such <b>host\\033[0m\\n \\n'"
    queue.enqueue(f"{said}; exit 6", id="a", max_retries=0)
    queue.enqueue("exit 7", id="silent", max_retries=0)
    queue.enqueue("echo all is well", id="good")
    drain(queue)
    for path in ("/", "/jobs", "/dead", "/jobs/a"):
        text = client.get(path).text
        assert "exit status 6: no such &lt;b&gt;host" in text
        assert "exit status 7:" not in text


def test_an_id_in_an_address_is_exact_and_the_only_job_that_begins_with_it_is_offered(
    settled: Queue, client: Any
) -> None:
    answer = client.get("/jobs/lat")
    assert answer.status_code == 404
    assert "Job lat does not exist." in answer.text
    assert '<a class="id" href="/jobs/later">later</a>' in answer.text
    as_json = client.get("/jobs/lat", headers={"Accept": "application/json"})
    assert as_json.status_code == 404
    assert as_json.json()["error"].startswith("Job lat does not exist.")


@pytest.mark.parametrize("prefix", ["b", "g1"])
def test_no_job_is_offered_if_none_or_several_begin_with_the_id(
    settled: Queue, client: Any, prefix: str
) -> None:
    settled.enqueue("true", id="b2")
    answer = client.get(f"/jobs/{prefix}")
    assert answer.status_code == 404
    assert 'class="id"' not in answer.text


def test_the_log_of_a_prefix_is_not_found(settled: Queue, client: Any) -> None:
    assert client.get("/jobs/goo/logs/1").status_code == 404


ODD_LOGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "good.1.log does not exist"),
    "link": (lambda path: path.symlink_to("bad.1.log"), "is a symbolic link, not a file"),
    "FIFO": (os.mkfifo, "is a FIFO, not a file"),
    "directory": (Path.mkdir, "is a directory, not a file"),
}


@pytest.mark.parametrize("kind", ODD_LOGS)
def test_a_log_that_is_no_file_is_told_of(settled: Queue, client: Any, kind: str) -> None:
    make, message = ODD_LOGS[kind]
    path = Path(settled.log_path("good", 1))
    path.unlink()
    make(path)

    page, download = client.get("/jobs/good"), client.get("/jobs/good/logs/1")

    assert (page.status_code, download.status_code) == (200, 404)
    assert message in page.text
    assert message in download.text


def test_a_log_is_saved_as_it_is_and_never_shown_as_a_page(settled: Queue, client: Any) -> None:
    answer = client.get("/jobs/good/logs/1")
    assert answer.content == b"good\nnot \xff utf-8"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="good.1.log"'


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/none", 404),
        ("/jobs/..%2f..%2fetc", 404),
        ("/jobs/good?attempt=9", 404),
        ("/jobs/good/logs/9", 404),
        ("/jobs/good/logs/0", 404),
        ("/jobs/good/logs/-1", 404),
        ("/jobs/good/logs/x", 404),
        ("/jobs/none/logs/1", 404),
        ("/jobs?state=strange", 400),
        ("/jobs?sort=strange", 400),
        ("/?span=strange", 400),
        ("/nothing", 404),
        ("/jobs/good/cancel", 405),
    ],
)
def test_what_does_not_exist_is_a_clear_page(
    settled: Queue, client: Any, path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "data-refusal" in answer.text
    assert "Traceback" not in answer.text
    for link in ("/", "/jobs", "/dead", "/workers", "/settings"):
        assert f'<li><a href="{link}">' in answer.text
    as_json = client.get(path, headers={"Accept": "application/json"})
    assert as_json.status_code == status
    assert as_json.json()["error"]


def test_an_internal_error_is_reported_without_a_traceback(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.site.queue, "workers", lambda: 1 / 0)
    answer = client.get("/workers")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert "This is a bug" in answer.text


def test_a_missing_spool_is_reported(client: Any, root: Path) -> None:
    root.rename(root.with_name("gone"))
    answer = client.get("/jobs")
    assert answer.status_code == 500
    assert "No such file" in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/jobs/hostile", "/jobs/good/logs/1", "/events?none"])
def test_showing_a_page_changes_nothing_in_the_spool(
    settled: Queue, client: Any, bytes_of: Callable[[], dict[str, bytes]], path: str
) -> None:
    settled.enqueue(HOSTILE, id="hostile")
    before = bytes_of()
    if not path.startswith("/events"):
        client.get(path)
    assert bytes_of() == before


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/hostile", "/dead", "/jobs?q=%3Cscript%3E"])
def test_what_a_job_says_is_escaped_everywhere(
    queue: Queue, client: Any, drain: Callable[..., Any], path: str
) -> None:
    command = f"echo '{HOSTILE}\u202eexe.gpj\x1b[2J'; exit 1"
    queue.enqueue(command, id="hostile", max_retries=0, extra={"note": HOSTILE})
    drain(queue)
    text = client.get(path).text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text


def test_a_file_whose_name_is_not_an_id_is_listed_as_text_and_not_linked(
    client: Any, drop: Callable[..., Path]
) -> None:
    drop("<b onclick=alert(1)>.json")
    text = client.get("/jobs").text
    assert "&lt;b onclick=alert(1)&gt;" in text
    assert 'href="/jobs/%3Cb' not in text


def test_every_route_that_changes_something_is_a_post_of_its_own() -> None:
    changing = [route for route in routes() if "POST" in (getattr(route, "methods", None) or ())]
    assert len(changing) == 9
    assert all(route.methods == {"POST"} for route in changing)  # type: ignore[attr-defined] # all are Routes


def test_the_record_of_a_running_job_is_json(queue: Queue, client: Any) -> None:
    queue.enqueue(["printf", "%s", "two words"], id="argv")
    text = client.get("/jobs/argv").text
    shown = re.search(r'Record as JSON">(.*?)</pre>', text, re.DOTALL)
    assert shown
    record = json.loads(shown[1].replace("&#34;", '"').replace("&#39;", "'"))
    assert record["command"] == ["printf", "%s", "two words"]


@pytest.mark.parametrize("path", ["/", "/jobs", "/workers", "/healthz"])
def test_a_spool_whose_path_is_not_utf_8_is_told_of_as_json(tmp_path: Path, path: str) -> None:
    queue = Queue(os.fsdecode(os.fsencode(tmp_path) + b"/sp\xff"))
    queue.enqueue("true")
    with TestClient(make_app(queue, Access()), base_url="http://127.0.0.1:8374") as client:
        answer = client.get(path, headers={"Accept": "application/json"})
    assert answer.status_code in (200, 503), answer.text  # 503: no worker is running
    assert answer.json() is not None

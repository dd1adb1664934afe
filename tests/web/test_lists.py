"""Lists of jobs: pages, search, order, and what the browser of jobs remembers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.view.pages import Query


def ids(text: str) -> list[str]:
    return re.findall(r'<a class="id" href="/jobs/([^"]+)">', text)


@pytest.fixture
def many(queue: Queue) -> Queue:
    jobs = [
        {"id": f"job-{n:03}", "command": f"echo number {n * 7 % 60:02}", "priority": n % 3}
        for n in range(60)
    ]
    queue.enqueue_many(jobs)
    for number in range(60):  # with increasing mtimes, in the order of the batch
        path = queue.spool.layout.job("pending", f"job-{number:03}")
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    return queue


def test_the_last_changed_come_first_fifty_a_page(many: Queue, client: Any) -> None:
    assert ids(client.get("/jobs").text) == [f"job-{n:03}" for n in range(59, 9, -1)]
    assert ids(client.get("/jobs?page=2").text) == [f"job-{n:03}" for n in range(9, -1, -1)]


def test_pages_together_show_every_job_once(many: Queue, client: Any) -> None:
    seen = [j for n in (1, 2, 3) for j in ids(client.get(f"/jobs?page={n}&size=25&sort=id").text)]
    assert sorted(seen) == [f"job-{n:03}" for n in range(60)]
    assert len(seen) == 60


@pytest.mark.parametrize("page", ["0", "-3", "99999999999", "x", ""])
def test_an_invalid_page_number_gives_the_nearest_page(many: Queue, client: Any, page: str) -> None:
    answer = client.get("/jobs", params={"page": page})
    assert answer.status_code == 200
    assert ids(answer.text)


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("sort=id&order=asc", "job-000"),
        ("sort=id&order=desc", "job-059"),
        ("sort=priority", "job-002"),
        ("sort=created&order=asc", "job-000"),
        ("sort=changed&order=asc", "job-000"),
        ("sort=attempts", "job-059"),
    ],
)
def test_jobs_are_sorted(many: Queue, client: Any, order: str, first: str) -> None:
    text = client.get(f"/jobs?{order}").text
    assert ids(text)[0] == first
    assert 'aria-sort="ascending"' in text or 'aria-sort="descending"' in text


def test_a_search_finds_ids_and_commands_whatever_their_case(many: Queue, client: Any) -> None:
    assert ids(client.get("/jobs?q=JOB-01&sort=id&order=asc").text) == [
        f"job-{n:03}" for n in range(10, 20)
    ]
    assert ids(client.get("/jobs", params={"q": "Number 07"}).text) == ["job-001"]
    assert "No job is found" in client.get("/jobs?q=absent").text


def test_dead_jobs_are_grouped_by_reason(
    queue: Queue, client: Any, drain: Callable[..., Any], drop: Callable[..., Path]
) -> None:
    for number, command in enumerate(("exit 7", "exit 7", "exit 7 # x", "exit 8", "kill -9 $$")):
        queue.enqueue(command, id=f"j{number}", max_retries=0)
    drain(queue)
    drop("half.json", "{", state="dead")
    text = client.get("/dead").text
    groups = re.findall(r'<li><a href="(/dead[^"]*)">([^<]+) <span class="count">(\d+)<', text)
    assert groups[0] == ("/dead?reason=exit+status+7", "exit status 7", "3")
    assert {name: int(count) for _, name, count in groups} == {
        "exit status 7": 3,
        "exit status 8": 1,
        "killed by SIGKILL": 1,
        "not a valid job": 1,
    }
    assert sorted(ids(client.get(groups[0][0]).text)) == ["j0", "j1", "j2"]
    assert ids(client.get("/dead?reason=not+a+valid+job").text) == ["half"]
    both = client.get("/dead?reason=exit+status+7&q=%23").text
    assert ids(both) == ["j2"]
    assert "with the reason “exit status 7” with “#” in the id or command" in both
    assert 'name="reason" value="exit status 7"' in both
    assert "No dead job is found." in client.get("/dead?reason=none").text


def test_a_column_has_one_name_on_every_page_and_as_an_order(many: Queue, client: Any) -> None:
    many.cancel("job-007")
    heads = {}
    for path in ("/", "/jobs", "/dead"):
        head = re.search(r"jobs list.*?</thead>", client.get(path).text, re.DOTALL)
        assert head
        heads[path] = re.findall(r">([A-Z][a-z ]+)<", head[0].partition("<thead")[2])
    assert heads["/"] == heads["/jobs"]
    assert heads["/dead"] == ["Select", *(name for name in heads["/"] if name != "State")]
    orders = re.findall(r"<option value=\"(\w+)\"[^>]*>([^<]+)", client.get("/jobs").text)
    named = {name for key, name in orders if key not in ("asc", "desc", "next")}
    assert named < set(heads["/"])


@pytest.mark.parametrize(
    ("path", "links"),
    [
        ("/", ["/enqueue"]),
        ("/jobs", ["/enqueue"]),
        ("/jobs?state=failed", ["/enqueue"]),
        ("/jobs?q=absent", ["/jobs"]),
        ("/dead", ["/jobs"]),
        ("/dead?q=absent", ["/dead"]),
        ("/workers", []),
    ],
)
def test_an_empty_page_leads_on(queue: Queue, client: Any, path: str, links: list[str]) -> None:
    text = "".join(re.findall(r'<p class="empty">.*?</p>', client.get(path).text))
    assert re.findall(r'href="([^"]+)"', text) == links
    assert links or f"queuectl --spool {queue.path} worker start" in text


def test_an_empty_state_leads_to_all_jobs(many: Queue, client: Any) -> None:
    text = client.get("/jobs?state=failed").text
    assert '<p class="empty">No failed jobs. <a href="/jobs">Show the jobs of all' in text


def test_a_job_that_waits_while_no_worker_runs_says_so(many: Queue, client: Any) -> None:
    assert 'No worker is running: <a href="/workers">' in client.get("/jobs/job-001").text


def test_a_search_keeps_its_text_through_paging_and_sorting(many: Queue, client: Any) -> None:
    text = client.get("/jobs?q=number&size=25&state=pending").text
    assert 'rel="next" href="/jobs?state=pending&amp;q=number&amp;size=25&amp;page=2"' in text
    assert 'href="/jobs?state=pending&amp;q=number&amp;sort=priority&amp;size=25"' in text


def test_a_state_shows_its_jobs_alone(many: Queue, client: Any, drain: Callable[..., Any]) -> None:
    assert ids(client.get("/jobs?state=completed").text) == []
    many.cancel("job-007")
    assert ids(client.get("/jobs?state=dead").text) == ["job-007"]
    assert ids(client.get("/dead").text) == ["job-007"]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.view.pages._REST", 0)


def test_a_listing_notices_what_comes_and_goes(eager: None, queue: Queue) -> None:
    browser = queue.browser()
    assert browser.counts()["pending"] == 0
    queue.enqueue("true", id="one")
    assert browser.counts()["pending"] == 1
    os.unlink(queue.spool.layout.job("pending", "one"))
    assert browser.counts()["pending"] == 0


def test_arrivals_are_told_once_each(eager: None, queue: Queue) -> None:
    browser = queue.browser()
    queue.enqueue("true", id="one")
    browser.counts()
    assert [entry.name for entry in browser.arrivals()] == ["one.json"]
    queue.enqueue("true", id="two")
    browser.counts()
    assert [entry.name for entry in browser.arrivals()] == ["two.json"]


def test_a_job_that_moves_while_it_is_shown_is_left_out(queue: Queue) -> None:
    browser = queue.browser()
    queue.enqueue("true", id="one")
    queue.enqueue("true", id="two")
    assert browser.page(Query()).total == 2
    os.unlink(queue.spool.layout.job("pending", "one"))
    assert "one" not in [status.id for status in browser.page(Query()).jobs]


def test_an_invalid_record_can_be_sorted_and_searched(
    queue: Queue, drop: Callable[..., Path]
) -> None:
    drop("half.json", '{"command": "ec')
    drop("deep.json", '{"command": "x", "y": ' + "[" * 5000 + "]" * 5000 + "}")
    browser = queue.browser()
    for sort in ("changed", "created", "id", "priority", "attempts"):
        assert browser.page(Query(sort=sort, search="half")).total == 1
    assert browser.page(Query(search="nowhere")).total == 0


def test_a_rewritten_record_is_searched_as_it_is_now(eager: None, queue: Queue) -> None:
    browser = queue.browser()
    queue.enqueue("echo old", id="one")
    assert browser.page(Query(search="old")).total == 1
    queue.cancel("one")
    os.unlink(queue.spool.layout.job("dead", "one"))
    queue.enqueue("echo new", id="one")
    assert browser.page(Query(search="old")).total == 0
    assert browser.page(Query(search="echo new")).total == 1


def test_claimed_jobs_are_listed_too(
    queue: Queue, client: Any, work: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    queue.enqueue("sleep 60", id="runs")

    def script(worker: Any) -> None:
        eventually(lambda: queue.get("runs").pid)
        text = client.get("/jobs?state=processing").text
        worker.stop_now()
        worker._watch.notify()
        assert ids(text) == ["runs"]

    work(queue, script)

"""What people do on the page: in a real browser, with a real server and real workers.

Nothing here waits for a time: playwright waits for what is to be seen, up to a deadline. Every
page is watched; a dialog, an error or a foreign address fails its test (see `Watcher`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from queuectl import Queue

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
QUICK_RETRIES = ("backoff_base", "0.1")


def live(page: Any, url: str) -> None:
    """Open a page and wait until it is live."""
    page.goto(url)
    expect(page.locator(".link")).to_have_text("Live")


def test_the_numbers_the_chart_and_the_list_follow_a_worker(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any]
) -> None:
    live(page, address + "/?span=5m")
    expect(page.locator('.card.completed [data-count="completed"]')).to_have_text("0")
    worker("--count", "2")
    expect(page.locator("#workers")).to_contain_text("0 of 2 slots busy")
    queue.enqueue_many([{"command": "true", "id": f"good-{n}"} for n in range(5)])
    queue.enqueue("exit 7", id="bad", max_retries=0)
    expect(page.locator('.card.completed [data-count="completed"]')).to_have_text("5")
    expect(page.locator('.top [data-count="dead"]')).to_have_text("1")
    expect(page.locator(".legend")).to_contain_text("5 completed")
    expect(page.locator(".legend")).to_contain_text("1 dead")
    expect(page.locator("#recent")).to_contain_text("exit status 7")
    expect(page.locator("#chart svg rect.completed").first).to_be_visible()


def test_a_job_is_enqueued_followed_while_it_runs_and_cancelled(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any]
) -> None:
    worker()
    live(page, address + "/enqueue")
    page.get_by_label("Command", exact=True).fill("echo begun; exec sleep 300")
    page.get_by_label("Id").fill("long")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page).to_have_url(address + "/jobs/long")
    expect(page.locator("#head .badge")).to_have_text("processing")
    expect(page.locator("#log")).to_have_text("begun\n")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#head .badge")).to_have_text("dead")
    expect(page.locator("#history")).to_contain_text("cancelled")
    assert queue.get("long").state == "dead"


def test_a_log_grows_on_the_page_as_it_is_written(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any], tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    command = f"echo first; while ! test -e {gate}; do sleep 0.05; done; printf 'l\\303\\251st\\n'"
    queue.enqueue(command, id="slow")
    worker()
    live(page, address + "/jobs/slow")
    expect(page.locator("#log")).to_have_text("first\n")
    expect(page.locator("#log-state")).to_have_text("running")
    gate.touch()
    expect(page.locator("#log")).to_have_text("first\nlést\n")
    expect(page.locator("#head .badge")).to_have_text("completed")
    expect(page.locator("#log-state")).to_have_text("")


def test_a_log_that_is_written_faster_than_it_can_be_shown_does_not_hold_the_page_up(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any], tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    flood = f"while ! test -e {gate}; do seq 1 40000; done; echo; echo the end"
    queue.enqueue(f"printf half; {flood}", id="flood")
    worker()
    live(page, address + "/jobs/flood")
    expect(page.locator("#log")).to_contain_text("bytes are left out here")
    assert len(page.locator("#log").text_content()) < 600_000
    gate.touch()
    expect(page.locator("#log-state")).to_have_text("")
    expect(page.locator("#log")).to_contain_text("the end")
    lines = page.locator("#log").inner_text().split("\n")
    numbers = [int(line) for line in lines[-2000:] if line.isdigit()]
    assert numbers[-1] == 40000
    assert numbers == list(range(numbers[0], 40001))  # no line is split between blocks


def test_a_page_goes_on_to_the_next_attempt_by_itself(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any]
) -> None:
    queue.set_setting(*QUICK_RETRIES)
    queue.enqueue('echo "try $QUEUECTL_ATTEMPT"; test $QUEUECTL_ATTEMPT = 2', id="twice")
    live(page, address + "/jobs/twice")
    worker()
    expect(page.locator("#log-title")).to_have_text("Log of attempt 2")
    expect(page.locator("#log")).to_have_text("try 2\n")
    page.get_by_role("link", name="log 1").click()
    expect(page.locator("#log")).to_have_text("try 1\n")


@pytest.fixture
def dead(queue: Queue) -> Queue:
    for number in range(4):
        queue.enqueue("true", id=f"dead-{number}")
        queue.cancel(f"dead-{number}")
    return queue


def test_one_dead_job_is_retried_from_its_page(dead: Queue, page: Any, address: str) -> None:
    live(page, address + "/jobs/dead-1")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#head .badge")).to_have_text("pending")
    expect(page.locator(".flash")).to_have_text("Moved back to pending.")
    assert "notice" not in page.url


def test_selected_and_all_dead_jobs_are_retried(dead: Queue, page: Any, address: str) -> None:
    live(page, address + "/dead")
    page.get_by_label("Select dead-0").check()
    page.get_by_label("Select dead-2").check()
    page.get_by_role("button", name="Retry selected (2)").click()
    expect(page.locator("#task")).to_contain_text("2 jobs moved back to pending")
    expect(page.locator("#list")).to_contain_text("2 dead jobs")
    page.get_by_role("button", name="Retry all").click()
    expect(page.locator("#list")).to_contain_text("No dead jobs")
    assert dead.status().jobs["pending"] == 4


def test_a_selection_outlives_a_live_update(dead: Queue, page: Any, address: str) -> None:
    live(page, address + "/dead")
    page.get_by_role("button", name="Select all on this page").click()
    page.get_by_label("Select dead-3").uncheck()
    dead.enqueue("true", id="one-more")
    dead.cancel("one-more")
    expect(page.locator("#list")).to_contain_text("one-more")
    expect(page.get_by_label("Select dead-1")).to_be_checked()
    expect(page.get_by_label("Select dead-3")).not_to_be_checked()
    expect(page.get_by_role("button", name="Retry selected (3)")).to_be_visible()


def test_dead_jobs_are_removed_only_after_confirmation(
    dead: Queue, page: Any, address: str
) -> None:
    live(page, address + "/dead")
    page.get_by_text("Remove for good").click()
    page.get_by_role("button", name="Remove").click()
    assert dead.status().jobs["dead"] == 4  # the box must be ticked first
    page.get_by_label("This cannot be undone").check()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#task")).to_contain_text("4 jobs removed")
    assert dead.list() == []


def test_many_jobs_are_enqueued_as_json(queue: Queue, page: Any, address: str) -> None:
    live(page, address + "/enqueue")
    page.get_by_label("One job, an array").fill('{"command":"true","id":"a"}\n{"command":["b"]}')
    page.get_by_role("button", name="Enqueue JSON").click()
    expect(page.locator(".flash")).to_contain_text("2 jobs enqueued")
    assert len(queue.list("pending")) == 2


def test_an_error_is_beside_its_field_and_has_the_focus(page: Any, address: str) -> None:
    page.watcher.expect("400")
    live(page, address + "/enqueue")
    page.get_by_label("Command", exact=True).fill("echo kept")
    page.get_by_label("Timeout").fill("soon")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    field = page.get_by_label("Timeout")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("not a duration"))
    expect(page.get_by_label("Command", exact=True)).to_have_value("echo kept")


def test_a_setting_is_changed_refused_and_set_back(queue: Queue, page: Any, address: str) -> None:
    page.watcher.expect("400")
    live(page, address + "/settings")
    page.get_by_label("max_retries", exact=True).fill("9")
    page.get_by_label("timeout", exact=True).fill("20")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator(".flash")).to_contain_text("Saved")
    assert queue.setting("timeout") == 20
    assert queue.setting("max_retries") == 9
    page.get_by_label("max_retries", exact=True).fill("-1")
    page.keyboard.press("Enter")
    expect(page.locator("#e-max_retries")).to_contain_text("not -1")
    page.get_by_label("timeout", exact=True).fill("30")
    page.get_by_role("button", name="Reset max_retries to its default").click()
    expect(page.get_by_label("max_retries", exact=True)).to_have_value("3")
    expect(page.get_by_label("timeout", exact=True)).to_have_value("30")  # an edit is kept
    assert queue.setting("max_retries") == 3


def test_a_change_of_a_removed_job_is_an_error_on_the_page(
    queue: Queue, page: Any, address: str
) -> None:
    page.watcher.expect("404")
    queue.enqueue("true", id="one")
    live(page, address + "/jobs/one")
    queue.cancel("one")
    queue.purge("dead")
    page.locator(
        "#cancel, #retry"
    ).click()  # the page may show the job as it was before or after the cancel
    expect(page.locator("#alert")).to_contain_text("does not exist")


def test_the_page_of_a_missing_job_offers_the_only_job_whose_id_begins_with_it(
    queue: Queue, page: Any, address: str
) -> None:
    page.watcher.expect("404")
    queue.enqueue("true", id="mail-10")
    live(page, address + "/jobs/mail-1")
    expect(page.locator("h1")).to_have_text("Not found")
    page.get_by_role("link", name="mail-10").click()
    expect(page).to_have_url(address + "/jobs/mail-10")
    expect(page.locator("#head .badge")).to_have_text("pending")


def test_workers_and_their_slots_are_shown_and_a_dead_worker_is_noticed(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any]
) -> None:
    live(page, address + "/workers")
    process = worker("--count", "2")
    queue.enqueue("exec sleep 300", id="slept")
    expect(page.locator("#workers")).to_contain_text("1 of 2 slots busy")
    expect(page.get_by_role("link", name="slept")).to_be_visible()
    expect(page.locator("#workers td.command")).to_have_text("exec sleep 300")
    process.process.kill()
    expect(page.locator("#workers .badge")).to_have_text("dead")
    worker()
    expect(page.locator("#workers")).not_to_contain_text("This worker is dead")


def test_the_columns_of_all_workers_are_in_line(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any]
) -> None:
    live(page, address + "/workers")
    for job_id, command in (("a", "exec sleep 300"), ("b" * 60, "sleep 300; " + "x" * 300)):
        queue.enqueue(command, id=job_id)
        worker()
        expect(page.locator("#workers tbody tr").filter(has_text=job_id)).to_be_visible()
    tables = page.locator("#workers table").all()
    assert len(tables) == 2
    columns = [
        [round(cell.bounding_box()["x"]) for cell in table.locator("thead th").all()]
        for table in tables
    ]
    assert columns[0] == columns[1]


def test_hostile_jobs_are_only_text(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any], drop: Callable[..., Any]
) -> None:
    output = f"{HOSTILE}\x1b]0;owned\x07\x1b[31mred\u202egpj.exe\x1b]8;;javascript:alert(4)\x07"
    queue.enqueue(["printf", "%s", output], id="hostile", extra={"note": HOSTILE}, cwd="/")
    queue.enqueue(f"echo '{HOSTILE}'; '\"><script>alert(5)</script>'", id="x", max_retries=0)
    drop("<img src=x onerror=alert(6)>\u202e.json", '{"command": "' + HOSTILE[:8])
    drop("javascript:alert(7).json", "[]")
    queue.enqueue("sleep 300 # " + HOSTILE, id="y")
    live(page, address + "/jobs")
    expect(page.locator("#list")).to_contain_text("onerror=alert(6)")
    worker("--count", "3")
    expect(page.locator('.top [data-count="dead"]')).to_have_text("3")
    paths = ("/", "/jobs", "/dead", "/workers", "/jobs?q=" + HOSTILE, "/jobs/x", "/jobs/y")
    for path in (*paths, "/jobs/hostile"):
        live(page, address + path)
        assert page.locator("main script, main img, main svg[onload]").count() == 0
    expect(page.locator("#log")).to_have_text(
        f"{HOSTILE}\\x1b]0;owned\\x07red\\u202egpj.exe\\x1b]8;;javascript:alert(4)\\x07"
    )
    page.get_by_text("Record as JSON").click()
    expect(page.locator("#record-body")).to_contain_text("<script>alert(1)</script>")


def test_a_hostile_log_is_pushed_as_text(
    queue: Queue, page: Any, address: str, worker: Callable[..., Any], tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    script = f"while ! test -e {gate}; do sleep 0.05; done; printf '%s' \"$1\""
    queue.enqueue(["sh", "-c", script, "sh", HOSTILE], id="late")
    worker()
    live(page, address + "/jobs/late")
    expect(page.locator("#log-state")).to_have_text("running")
    gate.touch()
    expect(page.locator("#log")).to_have_text(HOSTILE)


def test_a_list_is_searched_sorted_and_paged(queue: Queue, page: Any, address: str) -> None:
    queue.enqueue_many(
        {"command": f"echo {n}", "id": f"job-{n:03}", "priority": n} for n in range(70)
    )
    live(page, address + "/jobs")
    expect(page.locator("#list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#list tbody tr")).to_have_count(20)
    page.get_by_role("link", name="Priority").click()
    expect(page.locator("#list tbody tr").first).to_contain_text("job-069")
    expect(page.get_by_role("columnheader", name="Priority")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_label("Search ids and commands").fill("echo 42")
    page.keyboard.press("Enter")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.locator("#list")).to_contain_text("job-042")


def test_the_page_is_used_without_its_script(
    dead: Queue, open_page: Callable[..., Any], address: str
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(address + "/enqueue")
    page.get_by_label("Command", exact=True).fill("true")
    page.get_by_label("Id").fill("plain")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator("h1")).to_have_text("plain")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".flash")).to_have_text("Cancelled.")
    page.goto(address + "/dead")
    page.get_by_label("Select plain").check()
    page.get_by_role("button", name="Retry selected").click()
    expect(page.locator("#task")).to_contain_text("1 job moved back to pending")


def test_a_page_whose_server_has_another_token_now_says_so(
    page: Any, serve: Callable[..., Any]
) -> None:
    page.watcher.expect("401")
    page.watcher.expect("Failed to load")
    first, process = serve()
    live(page, first)
    process.stop()
    expect(page.locator(".link")).to_have_text("Not connected")
    port = first.partition("?")[0].rpartition(":")[2].rstrip("/")
    second, _ = serve("--port", port)
    expect(page.locator("#alert")).to_have_text(
        "The server has another token now: reload to sign in."
    )
    other = page.context.new_page()
    other.goto(second)
    expect(page.locator(".link")).to_have_text("Live")  # the browser has the new cookie
    expect(page.locator("#alert")).to_have_text("")


def test_a_token_is_asked_for_and_taken_from_the_address(
    queue: Queue, open_page: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    queue.enqueue("true", id="one")
    address, process = serve("--token", "a-long-enough-secret")
    page = open_page()
    page.watcher.expect("401")
    page.goto(address.partition("?")[0])
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#wrong")).to_be_visible()
    page.get_by_label("Token").fill("a-long-enough-secret")
    page.keyboard.press("Enter")
    expect(page.locator(".link")).to_have_text("Live")
    assert "token" not in page.url
    other = open_page()
    live(other, address)
    assert "token" not in other.url
    assert "a-long-enough-secret" not in process.said

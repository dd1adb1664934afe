"""Access control: hosts, origins, methods and the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from queuectl import Queue
from queuectl.web.access import Access

TOKEN = "a-long-enough-secret"
POSTS = (
    *("/enqueue", "/enqueue/json", "/jobs/one/cancel", "/jobs/one/retry", "/dead/retry"),
    *("/dead/retry-all", "/dead/purge", "/settings", "/settings/max_retries"),
)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8374", "localhost:8374", "localhost", "[::1]:8374", "127.0.0.9"]
)
def test_a_loopback_name_is_ours(client: Any, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8374", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("192.168.1.5:8374", "", "[::1].evil.example", "2130706433", "127.0.0.1@evil.example"),
    ],
)
def test_any_other_host_is_refused_so_that_no_name_can_be_rebound(client: Any, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "card" not in answer.text


def test_the_bound_host_is_ours(make_client: Callable[..., Any]) -> None:
    client = make_client(host="queue.lan")
    assert client.get("/", headers={"Host": "queue.lan:8374"}).status_code == 200
    assert client.get("/", headers={"Host": "other.lan:8374"}).status_code == 403


def test_bound_to_all_addresses_any_address_is_ours_and_no_foreign_name() -> None:
    access = Access(host="0.0.0.0", token=TOKEN)
    assert access.names("192.168.1.5:8374")
    assert not access.names("evil.example:8374")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
        {},
    ],
    ids=lambda headers: " ".join(headers.values()) or "none",
)
def test_a_form_that_is_not_from_our_own_page_changes_nothing(
    queue: Queue,
    client: Any,
    bytes_of: Callable[[], dict[str, bytes]],
    path: str,
    headers: dict[str, str],
) -> None:
    queue.enqueue("true", id="one")
    before = bytes_of()
    fields = {"command": "touch /tmp/x", "json": '{"command": "true"}', "value": "1", "id": "one"}
    assert (
        client.post(
            path,
            data={**fields, "sure": "yes", "was-max_retries": "3", "max_retries": "9"},
            headers=headers,
        ).status_code
        == 403
    )
    assert bytes_of() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8374"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=["our script", "our form without the script", "no origin at all"],
)
def test_a_form_of_our_own_page_is_taken(
    queue: Queue, client: Any, headers: dict[str, str]
) -> None:
    answer = client.post("/enqueue", data={"command": "true", "id": "one"}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/one")
    assert queue.get("one").state == "pending"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_other_method_is_served(client: Any, method: str) -> None:
    assert client.request(method, "/jobs").status_code == 405


def test_read_only_shows_all_and_takes_nothing(
    queue: Queue, make_client: Callable[..., Any]
) -> None:
    client = make_client(read_only=True)
    queue.enqueue("true", id="one")
    assert client.send_form("/jobs/one/cancel").status_code == 403
    assert queue.get("one").state == "pending"
    for path in ("/", "/jobs", "/dead", "/jobs/one", "/settings"):
        text = client.get(path).text
        assert 'method="post" action="/jobs' not in text
        assert "Retry all" not in text
        assert "<button id=" not in text


# -- the token -------------------------------------------------------------------------------


@pytest.fixture
def locked(make_client: Callable[..., Any]) -> Any:
    return make_client(token=TOKEN)


@pytest.mark.parametrize("path", ["/", "/jobs", "/events", "/jobs/one/logs/1", "/enqueue"])
def test_without_the_token_nothing_is_told(queue: Queue, locked: Any, path: str) -> None:
    queue.enqueue("secret command", id="one")
    answer = locked.get(path)
    assert answer.status_code == 401
    assert "secret" not in answer.text
    assert queue.path not in answer.text


@pytest.mark.parametrize("path", POSTS)
def test_without_the_token_nothing_is_done(queue: Queue, locked: Any, path: str) -> None:
    assert locked.send_form(path, command="true").status_code == 401
    assert queue.list() == []


def test_the_token_in_an_address_becomes_a_cookie_that_only_our_pages_get(locked: Any) -> None:
    answer = locked.get(f"/jobs?token={TOKEN}&state=dead")
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == 200
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert TOKEN not in answer.text
    assert "url=/jobs?state=dead" in answer.text
    assert locked.get("/jobs?state=dead").status_code == 200


@pytest.mark.parametrize("given", ["wrong", "", TOKEN[:-1], TOKEN + "x", "\xe9"])
def test_a_wrong_token_lets_nobody_in(locked: Any, given: str) -> None:
    answer = locked.get("/", params={"token": given})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "This is not the token" in answer.text
    assert locked.get("/", headers={"Cookie": f"queuectl-8374={TOKEN}"}).status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_a_machine_is_let_in_by_the_address_without_going_on(locked: Any, path: str) -> None:
    answer = locked.get(f"{path}?token={TOKEN}", headers={"Accept": "*/*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "set-cookie" not in answer.headers
    assert locked.get(f"{path}?token=wrong-wrong-wrong").status_code == 401


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,*/*", "text/html"),
        ("application/json", "application/json"),
        ("*/*", "text/plain"),
        ("text/event-stream", "text/plain"),
    ],
)
def test_the_token_is_asked_for_in_the_format_that_was_asked_for(
    locked: Any, accept: str, kind: str
) -> None:
    answer = locked.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "token" in answer.text.lower()


def test_the_target_after_the_token_is_on_this_site(locked: Any) -> None:
    text = locked.get(f"//evil.example/?token={TOKEN}").text
    assert "url=//" not in text


def test_a_program_brings_the_token_in_a_header(locked: Any) -> None:
    assert locked.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert locked.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401


BEARER = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}


def test_a_program_with_the_token_changes_the_queue(queue: Queue, locked: Any) -> None:
    jobs = [{"command": "true", "id": "one"}, {"command": "true", "id": "two"}]
    assert locked.post("/enqueue/json", json=jobs, headers=BEARER).json() == {"ids": ["one", "two"]}
    answer = locked.post("/jobs/one/cancel", headers=BEARER, follow_redirects=True)
    assert (answer.json()["id"], answer.json()["state"]) == ("one", "dead")
    answer = locked.post("/enqueue/json", json=jobs, headers=BEARER)
    assert (answer.status_code, "exists already" in answer.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    "more",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": "Bearer wrong", "Cookie": "COOKIE"},
        {"Authorization": "", "Cookie": "COOKIE"},
    ],
    ids=lambda more: " ".join(more.values()),
)
def test_a_browser_needs_an_origin_of_ours_though_a_proxy_adds_the_token(
    queue: Queue, locked: Any, more: dict[str, str]
) -> None:
    cookie = f"queuectl-8374={Access(token=TOKEN).cookie_value}"
    headers = {**BEARER, **{name: v.replace("COOKIE", cookie) for name, v in more.items()}}
    assert locked.get("/jobs", headers=headers).status_code == 200
    assert locked.post("/enqueue", data={"command": "true"}, headers=headers).status_code == 403
    assert queue.list() == []


def test_without_a_token_no_header_makes_up_for_it(queue: Queue, client: Any) -> None:
    for value in ("Bearer ", f"Bearer {TOKEN}"):
        headers = {"Authorization": value}
        assert client.post("/enqueue", data={"command": "x"}, headers=headers).status_code == 403
    assert queue.list() == []


def test_a_program_reads_pages_as_data(queue: Queue, locked: Any) -> None:
    queue.enqueue("true", id="one", priority=3)
    found = locked.get("/jobs?state=pending", headers=BEARER).json()
    assert (found["total"], found["jobs"][0]["id"], found["jobs"][0]["priority"]) == (1, "one", 3)
    assert locked.get("/jobs/one", headers=BEARER).json()["state"] == "pending"
    assert locked.get("/", headers=BEARER).json()["jobs"]["pending"] == 1
    assert locked.get("/workers", headers=BEARER).json() == []
    assert locked.get("/dead", headers=BEARER).json()["jobs"] == []


def test_a_cookie_is_secure_behind_https(make_client: Callable[..., Any]) -> None:
    client = make_client(token=TOKEN, public_url="https://queue.example.org")
    answer = client.get(f"/?token={TOKEN}", headers={"Host": "queue.example.org"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_behind_a_proxy_forms_come_from_the_public_address(
    queue: Queue, make_client: Callable[..., Any]
) -> None:
    client = make_client(token=TOKEN, public_url="https://queue.example.org")
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "queue.example.org"}
    for origin, status in (("https://queue.example.org", 303), ("https://example.org", 403)):
        answer = client.post(
            "/enqueue", data={"command": "true"}, headers={**headers, "Origin": origin}
        )
        assert answer.status_code == status
    assert len(queue.list()) == 1

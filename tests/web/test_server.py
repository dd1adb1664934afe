"""The server process: its output, errors, events and shutdown."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from queuectl import Queue

PROGRAM = Path(sys.executable).with_name("queuectl")


class Stream:
    """One EventSource, as a program reads it."""

    def __init__(self, address: str, path: str = "/events", **headers: str) -> None:
        where = urlsplit(address)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()

    def events(self, wanted: str) -> Iterator[tuple[Any, str]]:
        """Yield the data and the id of each event with this name."""
        name, mark = "", ""
        while line := self.answer.readline():
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "id":
                mark = value
            elif key == "data" and name == wanted:
                yield json.loads(value), mark

    def rest(self) -> bytes:
        return self.answer.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Stream]]:
    opened: list[Stream] = []

    def start(*args: str, **headers: str) -> Stream:
        opened.append(Stream(*args, **headers))
        return opened[-1]

    yield start
    for stream in opened:
        stream.close()


def run(root: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "web", *args],
        env={**os.environ, "QUEUECTL_SPOOL": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def status(address: str, path: str = "/jobs", **headers: str) -> int:
    stream = Stream(address, path, **headers)
    stream.close()
    return stream.answer.status


@pytest.mark.parametrize("options", [(), ("--host", "0.0.0.0")], ids=["loopback", "elsewhere"])
def test_it_makes_a_token_and_prints_the_address_that_holds_it(
    serve: Callable[..., Any], options: tuple[str, ...]
) -> None:
    address, process = serve(*options)
    token = address.partition("?token=")[2]
    assert options or urlsplit(address).hostname == "127.0.0.1"
    assert len(token) >= 32
    assert token not in process.said
    here = f"http://127.0.0.1:{urlsplit(address).port}/"
    assert status(here) == 401
    assert status(here, Authorization=f"Bearer {token}") == 200


def test_each_start_makes_another_token(serve: Callable[..., Any]) -> None:
    first, second = (serve()[0].partition("?token=")[2] for _ in range(2))
    assert first != second


def test_another_user_of_the_machine_can_do_nothing_without_the_token(
    queue: Queue, serve: Callable[..., Any]
) -> None:
    address, _ = serve()
    where = urlsplit(address)
    own = f"http://127.0.0.1:{where.port}"
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=20)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": own}
    for path, body in (("/enqueue", "command=id"), ("/settings/timeout", "value=1")):
        connection.request("POST", path, body=body, headers=form)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 401
    connection.close()
    assert queue.list() == []
    assert queue.setting("timeout") is None


def test_without_a_token_only_where_that_is_said(serve: Callable[..., Any]) -> None:
    address, _ = serve("--no-token")
    assert "token" not in address
    assert status(address) == 200


def test_a_token_of_the_environment_is_taken(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_WEB_TOKEN", "a-token-that-stays")
    assert serve()[0].endswith("/?token=a-token-that-stays")


def test_the_address_as_json(root: Path) -> None:
    process = subprocess.Popen(
        [PROGRAM, "--spool", root, "web", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], "it has ended"
        said = json.loads("".join(lines))
        assert said["url"].endswith(f"/?token={said['token']}")
        assert said["spool"] == str(root)
        assert status(said["url"], Authorization=f"Bearer {said['token']}") == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        process.communicate()


def test_the_browser_is_opened_without_the_token_in_its_command_line(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, eventually: Any
) -> None:
    """`ps` shows the command line to every user of the machine."""
    browser = tmp_path / "browser"
    browser.write_text(
        '#!/bin/sh\nfile="${1#file://}"\ncp "$file" "$0.page"; stat -c %a "$file" >"$0.mode"\n'
        'echo "$*" >"$0.words.new"; mv "$0.words.new" "$0.words"\n'
    )
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    address, process = serve("--open")
    words = eventually(lambda: (w := tmp_path / "browser.words").exists() and w.read_text())
    token = address.partition("?token=")[2]
    assert token not in words
    assert f'url={address}"' in (tmp_path / "browser.page").read_text()
    assert (tmp_path / "browser.mode").read_text() == "600\n"
    process.stop()
    assert not Path(words.strip().removeprefix("file://")).exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--host", "no.such.host.invalid"), 2, "not an address of this machine"),
        (("--token", "short"), 2, "at least 12"),
        (("--token", "with spaces in it"), 2, "without spaces"),
        (("--token", "päßword-päßword"), 2, "ASCII"),
        (("--token", "long-enough-one", "--no-token"), 2, "--no-token cannot be used with a token"),
        (("--no-token", "--host", "0.0.0.0"), 2, "only on loopback"),
        (("--no-token", "--public-url", "https://queue.example.org"), 2, "only on loopback"),
        (("--port", "70000"), 2, "--port"),
        (("--public-url", "queue.example.org"), 2, "https://"),
        (("--public-url", "https://"), 2, "https://queue"),
        (("--public-url", "https://[bad"), 2, "https://queue"),
        (("--public-url", "https://queue.example.org:x"), 2, "https://queue"),
        (("--public-url", "https://me:secret@queue.example.org"), 2, "https://queue"),
        (("--public-url", "https://example.org/queue"), 2, "without a path"),
        (("--host", ""), 2, "not an address of this machine"),
        (("--host", "192.0.2.1"), 1, "cannot listen"),
        (("--spool", "/etc"), 1, "not a spool"),
    ],
)
def test_what_it_cannot_do_is_one_line(
    root: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = run(root, *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_line(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(root, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "is in use: choose another with --port" in done.stderr


def test_without_its_extra_one_line_says_what_to_install(root: Path, tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')"
    )
    done = run(root, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert done.returncode == 1
    assert done.stderr == (
        "queuectl: error: the web page needs packages that are not installed: "
        "in a clone of queuectl, run `pip install '.[web]'`\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_and_cleanly_with_pages_open(
    serve: Callable[..., Any], listen: Callable[..., Stream], number: int
) -> None:
    address, process = serve("--no-token")
    streams = [listen(address) for _ in range(3)]
    for stream in streams:
        next(stream.events("state"))
    assert process.stop(number) == 0
    for stream in streams:
        stream.rest()
    assert "Traceback" not in process.said
    assert "Error" not in process.said


def test_a_change_is_pushed(queue: Queue, address: str, listen: Callable[..., Stream]) -> None:
    events = listen(address).events("state")
    assert next(events)[0]["counts"]["pending"] == 0
    queue.enqueue("true")
    assert next(state for state, _ in events if state["counts"]["pending"] == 1)


def test_many_changes_are_few_messages(
    queue: Queue, address: str, listen: Callable[..., Stream]
) -> None:
    events = listen(address).events("state")
    next(events)
    for number in range(300):
        queue.enqueue("true", id=f"job-{number}")
    messages = 0
    for state, _ in events:
        messages += 1
        if state["counts"]["pending"] == 300:
            break
    assert messages < 30


def test_a_log_is_pushed_from_where_a_page_has_got_to(
    queue: Queue, address: str, listen: Callable[..., Stream], drain: Callable[..., Any]
) -> None:
    queue.enqueue("echo one; echo two", id="said")
    drain(queue)
    path = "/events?job=said&attempt=1&offset=0"
    assert next(listen(address, path).events("log")) == ("one\ntwo\n", "1:8")
    again = listen(address, path, **{"Last-Event-ID": "1:4"})
    assert next(again.events("log")) == ("two\n", "1:8")


def test_the_stream_of_an_invalid_id_is_refused(
    address: str, listen: Callable[..., Stream]
) -> None:
    assert listen(address, "/events?job=..%2Fx").answer.status == 404


def test_a_probe_asks_without_a_token(
    queue: Queue, serve: Callable[..., Any], worker: Callable[..., Any], eventually: Any
) -> None:
    address = serve()[0].partition("?")[0]
    assert status(address, "/healthz") == 200
    queue.enqueue("exec sleep 300", id="due")
    eventually(lambda: status(address, "/healthz") == 503)
    worker()
    eventually(lambda: status(address, "/healthz") == 200)


def test_many_retries_on_an_open_page_keep_its_watch(
    queue: Queue, serve: Callable[..., Any], listen: Callable[..., Stream]
) -> None:
    queue.enqueue_many({"id": f"job-{n:03}", "command": "true"} for n in range(300))
    for number in range(300):
        path = queue.spool.layout.job("pending", f"job-{number:03}")
        os.rename(path, queue.spool.layout.job("dead", f"job-{number:03}"))
    address, process = serve("--no-token")
    events = listen(address).events("state")
    next(events)
    where = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=30)
    headers = {"Origin": address.rstrip("/")}
    connection.request("POST", "/dead/retry-all", headers=headers)
    assert connection.getresponse().status == 303
    connection.close()
    assert next(state for state, _ in events if state["counts"]["pending"] == 300)
    assert "no watch" not in process.said


def test_with_no_page_open_nothing_is_watched(
    serve: Callable[..., Any], listen: Callable[..., Stream], eventually: Any
) -> None:
    address, process = serve("--no-token")

    def watched() -> bool:
        watches = 0
        for file in Path(f"/proc/{process.process.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                watches += "inotify wd:" in file.read_text()
        return watches > 0

    assert not watched()
    stream = listen(address)
    next(stream.events("state"))
    eventually(watched)
    stream.close()
    eventually(lambda: not watched())


def test_an_idle_page_costs_nothing(
    serve: Callable[..., Any], listen: Callable[..., Stream], eventually: Any
) -> None:
    address, process = serve("--no-token")
    next(listen(address).events("state"))
    tasks = Path(f"/proc/{process.process.pid}/task")

    def switched() -> int:
        texts = [(task / "status").read_text() for task in tasks.iterdir()]
        return sum(int(t.rsplit("\nvoluntary_ctxt_switches:")[1].split()[0]) for t in texts)

    seen = [switched()]

    def is_quiet() -> bool:
        """Return whether almost nothing woke the process for one second."""
        select.select([], [], [], 1.0)
        seen.append(switched())
        return seen[-1] - seen[-2] <= 30

    eventually(is_quiet)

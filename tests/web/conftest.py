"""Fixtures: each test has its own site, in this process or in real processes with a browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("httpx2", reason="starlette's test client needs httpx2")

from starlette.testclient import TestClient

from queuectl import Queue
from queuectl.web.access import Access
from queuectl.web.app import make_app

PROGRAM = Path(sys.executable).with_name("queuectl")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DEADLINE_MS = 15_000
BASE = "http://127.0.0.1:8374"
OURS = {"Origin": BASE}


# -- in this process -------------------------------------------------------------------------


class Client(TestClient):
    """A browser that follows no redirect and sends forms from a page of the site."""

    def send_form(self, path: str, **fields: Any) -> Any:
        return self.post(path, data=fields, headers=OURS)


@pytest.fixture
def make_client(queue: Queue) -> Iterator[Callable[..., Client]]:
    with contextlib.ExitStack() as stack:

        def make(**access: Any) -> Client:
            app = make_app(queue, Access(**access))
            client = Client(app, base_url=BASE, follow_redirects=False)
            client.headers["Accept"] = "text/html,*/*;q=0.8"
            return stack.enter_context(client)

        yield make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


# -- real processes and a real browser -------------------------------------------------------


class Process:
    """A queuectl command that runs until it is stopped."""

    def __init__(self, root: Path, *arguments: str, **environment: str) -> None:
        self.log = root.parent / f"{arguments[0]}.err"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "QUEUECTL_SPOOL": str(root), **environment},
            )

    @property
    def first_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
def serve(root: Path) -> Iterator[Callable[..., tuple[str, Process]]]:
    """Start `queuectl web` and return its address."""
    started: list[Process] = []

    def start(*options: str) -> tuple[str, Process]:
        process = Process(root, "web", "--port", "0", *options)
        started.append(process)
        address = process.first_line
        assert address, process.said
        return address, process

    yield start
    for process in started:
        process.stop()
        assert "Traceback" not in process.said


@pytest.fixture
def address(serve: Callable[..., tuple[str, Process]]) -> str:
    """The address of a server without a token, so that a test can open any page at once."""
    return serve("--no-token")[0].rstrip("/")


@pytest.fixture
def worker(root: Path) -> Iterator[Callable[..., Process]]:
    """Start `queuectl worker start`; the end of the test stops the worker and its jobs."""
    started: list[Process] = []

    def start(*options: str) -> Process:
        started.append(Process(root, "worker", "start", *options))
        return started[-1]

    yield start
    for process in started:
        for _ in range(20):  # the first lets the jobs end, the second kills them
            if process.process.poll() is not None:
                break
            process.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(0.5)
        process.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not os.path.exists(CHROMIUM):
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watcher:
    """Records what must not happen on a page: dialogs, errors, requests to other hosts."""

    def __init__(self, page: Any) -> None:
        self.heard: list[str] = []
        self._expected: list[str] = []
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.heard.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def expect(self, text: str) -> None:
        """Allow console messages that contain this text."""
        self._expected.append(text)

    def _dialog(self, dialog: Any) -> None:
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        known = any(text in message.text for text in self._expected)
        if message.type in ("error", "warning") and not known:
            self.heard.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "http://localhost:")):
            self.heard.append(f"a foreign address: {request.url}")


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page in a context of its own; the test fails if the watcher records anything."""
    from playwright.sync_api import expect

    expect.set_options(timeout=DEADLINE_MS)
    opened: list[tuple[Any, Watcher]] = []

    def make(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        context.set_default_timeout(DEADLINE_MS)
        page = context.new_page()
        page.watcher = Watcher(page)
        opened.append((page, page.watcher))
        return page

    yield make
    heard = [each for _, watcher in opened for each in watcher.heard]
    for page, _ in opened:
        page.context.close()
    assert heard == []


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    return open_page()

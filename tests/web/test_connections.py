"""Clients that connect and say nothing, or say it slowly: the server answers all others."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from helpers import loops
from uvicorn.server import ServerState

from queuectl.web import protocol
from queuectl.web.protocol import Protocol

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answer once the body of the request has come."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def _talk(*parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts, with pauses after them; return all that came until the server closed.

    An empty part stands for: wait for an answer.
    """

    async def play() -> bytes:
        config = uvicorn.Config(_app, lifespan="off", log_level="critical", timeout_keep_alive=3600)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        make = partial(Protocol, config=config, server_state=state, app_state={})
        async with await loop.create_server(make, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            said = b""
            with contextlib.closing(writer):
                for part in parts:
                    said += b"" if part else await reader.readuntil(b"ok")
                    writer.write(part)
                    await asyncio.sleep(pause)
                return said + await reader.read()

    return loops.run(play(), 30)


@pytest.mark.parametrize(
    ("parts", "answers"),
    [
        ([], 0),
        ([ASK], 0),
        ([ASK + b"\r\n", b"", b"G"], 1),  # the next request on the same connection
    ],
    ids=["nothing", "half a request", "half of the next request"],
)
def test_headers_that_do_not_come_end_the_connection(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes], answers: int
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.05)
    assert _talk(*parts).count(b"200 OK") == answers


def test_a_body_may_take_longer_than_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.05)
    headers = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    assert _talk(headers, b"x", b"y", pause=0.2).endswith(b"ok")


@pytest.fixture
def few_files() -> Iterator[None]:
    """Let the processes that the test starts have 128 open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_silent_connections_beyond_the_limit_on_files_hold_nobody_up(
    few_files: None, serve: Callable[..., Any]
) -> None:
    address, process = serve("--no-token")
    where = urlsplit(address)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.ExitStack() as ending:
        for _ in range(200):
            ending.enter_context(socket.create_connection((where.hostname, where.port), timeout=20))
        for _ in range(5):
            probe = socket.create_connection((where.hostname, where.port), timeout=20)
            ending.enter_context(probe).sendall(
                f"GET /healthz HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
            )
            assert probe.recv(64).startswith(b"HTTP/1.1 200")

    assert len(process.said.splitlines()) == 1  # what it shows

"""The server process: its socket, its signals and its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from queuectl.errors import InvalidInput, QueuectlError
from queuectl.web.protocol import ACCEPTED_AT_ONCE, Protocol

BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""
SECONDS_TO_FINISH = 5
"""How long the shutdown waits for requests that are not answered yet."""


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 is any free port. Raises QueuectlError, InvalidInput."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise InvalidInput(f"{host!r} is not an address of this machine") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise QueuectlError(
                f"port {port} of {host} is in use: choose another with --port, "
                "or 0 for any free port"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise QueuectlError(f"cannot listen on {host} port {port}: {reason}") from None
    return listener


def serve(app: Starlette, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM. The shutdown ends open EventSource connections.

    `ready` is called when the server accepts requests.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # an address may contain the token
        server_header=False,
        date_header=False,
        ws="none",
        http=Protocol,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    asyncio.run(_Server(config, app, ready).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """A server that ends its streams first, and for which a signal is a normal end."""

    def __init__(self, config: uvicorn.Config, app: Starlette, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # uvicorn has set it to `backlog`, which means two things
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit  # a second signal ends it at once
        self.should_exit = True
        self._app.state.site.live.close()

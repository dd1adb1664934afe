"""The connections of the server: how many there may be, and how long one may stay silent.

A client needs no token to connect. Without these limits a few that connect and say nothing take all
descriptors of the server, and then no probe is answered any more.
"""

from __future__ import annotations

import asyncio
import functools
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, from the connection or their first byte on."""
MOST_CONNECTIONS = 512
"""Connections at a time; each open page has one."""
ACCEPTED_AT_ONCE = 8
"""Connections that asyncio accepts in one round of its loop. One too many is closed within four
rounds. Without a descriptor for them, asyncio logs a traceback for each."""
_OTHER_FILES = 4 * ACCEPTED_AT_ONCE + 32
"""Descriptors that are kept for connections that were just accepted, and for the spool's files."""


class Protocol(H11Protocol):
    """HTTP/1.1 with a limit on the number of connections, and on the time that headers take."""

    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a connection; if it is one too many, close the one that has been silent longest."""
        super().connection_made(transport)
        self._expect_headers()
        if len(self.connections) > most_connections():
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        if not self._is_silent():
            self._expect_nothing()
        elif self._overdue is None:
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has ended."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _is_silent(self) -> bool:
        """Whether the headers of the first request, or of the next, have not come, or not whole."""
        return self.conn.their_state is h11.IDLE

    def _expect_headers(self) -> None:
        self._overdue = self.loop.call_later(HEADER_SECONDS, self.timeout_keep_alive_handler)

    def _expect_nothing(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _make_room(self) -> None:
        silent = [each for each in self.connections if isinstance(each, Protocol)]
        waits = {each: each._overdue.when() for each in silent if each._overdue is not None}
        longest: Any = min(waits, key=waits.__getitem__)  # at the latest, this connection itself
        self.connections.discard(longest)
        longest.transport.abort()


@functools.cache
def most_connections() -> int:
    """How many connections the limit on open files leaves room for, at most MOST_CONNECTIONS."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = MOST_CONNECTIONS if limit == resource.RLIM_INFINITY else limit - _OTHER_FILES
    return max(8, min(room, MOST_CONNECTIONS))

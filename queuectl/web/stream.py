"""What is pushed to an open page, over one connection: the numbers, and a log as it grows.

One connection a page, for a browser opens no more than six to a host. A log that is followed
is looked at four times a second while its job runs, for no event tells of a write; everything
else waits for the hub.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from queuectl.errors import NoSuchJob
from queuectl.record.ids import is_id
from queuectl.web.hub import Ear
from queuectl.web.logtext import Reader
from queuectl.web.site import Site, site_of, whole

SECONDS_BETWEEN_READS = 0.25
SECONDS_BETWEEN_SIGNS = 15.0
"""A line is sent at least so often, so that a page that has gone is noticed."""
_MOST = 10**9
_LONGEST = 1 << 60


class Feed:
    """One attempt's log, followed by one page."""

    def __init__(self, site: Site, job_id: str, attempt: int, offset: int) -> None:
        self._site = site
        self._id = job_id
        self._attempt = attempt
        self._reader = Reader(site.queue.spool.layout.log(job_id, attempt), offset)
        self.is_running = True

    @property
    def mark(self) -> str:
        """How far it has been read: where a page that comes back goes on."""
        return f"{self._attempt}:{self._reader.offset}"

    def look(self) -> None:
        """See whether the attempt is still running. What is written before its end is read after
        this, so nothing of it is missed."""
        claims = self._site.queue.spool.reader.claims_of(self._id)
        self.is_running = any(place.attempt == self._attempt for place in claims)

    def read(self) -> str:
        """Return the next piece, "" if there is none yet."""
        return self._reader.read(final=not self.is_running)


async def events(request: Request) -> Response:
    """Push events until the page goes or the server ends."""
    site = site_of(request)
    return StreamingResponse(
        _events(request, site, _feed(request, site)),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},  # nginx hands each line on at once
    )


def _feed(request: Request, site: Site) -> Feed | None:
    job_id = request.query_params.get("job")
    if job_id is None:
        return None
    if not is_id(job_id):
        raise NoSuchJob("no such job")
    attempt = whole(request.query_params.get("attempt"), 1, _MOST)
    offset = whole(request.query_params.get("offset"), 0, _LONGEST, least=0)
    last, _, reached = request.headers.get("last-event-id", "").partition(":")
    if last == str(attempt):
        offset = whole(reached, offset, _LONGEST, least=0)
    return Feed(site, job_id, attempt, offset)


async def _events(request: Request, site: Site, feed: Feed | None) -> AsyncIterator[str]:
    seen = -1
    with site.hub.listen() as ear:
        yield "retry: 2000\n\n"
        while not site.hub.closed and not await request.is_disconnected():
            snapshot = site.hub.snapshot
            if snapshot.version != seen and snapshot.version:
                seen = snapshot.version
                yield _event("state", msgspec.json.encode(snapshot).decode())
                if feed is not None:
                    await run_in_threadpool(feed.look)
            while feed is not None and (text := await run_in_threadpool(feed.read)):
                yield _event("log", msgspec.json.encode(text).decode(), feed.mark)
                if feed.is_running:
                    break  # a chunk at a time: a command may write faster than a page can show
            if not await _wait(ear, feed):
                yield ": still here\n\n"


async def _wait(ear: Ear, feed: Feed | None) -> bool:
    """Wait for something to send; False if a sign of life is due."""
    if feed is not None and feed.is_running:
        await ear.wait(SECONDS_BETWEEN_READS)
        return True
    return await ear.wait(SECONDS_BETWEEN_SIGNS)


def _event(name: str, data: str, mark: str = "") -> str:
    return f"event: {name}\n" + (f"id: {mark}\n" if mark else "") + f"data: {data}\n\n"

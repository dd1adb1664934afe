"""Server-sent events for an open page, on one connection: the numbers, and a log as it grows.

A page opens only one connection, because a browser opens at most six to a host. While a job runs,
its log is read four times a second, because no event reports a write. Everything else waits for the
live updates.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from queuectl.errors import NoSuchJob
from queuectl.record.ids import is_id
from queuectl.web.endpoints import number, site_of
from queuectl.web.live import Subscriber
from queuectl.web.logtext import LogReader
from queuectl.web.site import Site

SECONDS_BETWEEN_READS = 0.25
SECONDS_BETWEEN_SIGNS = 15.0
"""How often to send at least a comment, so that the server notices when a page is gone."""
_MAX_ATTEMPT = 10**9
_MAX_OFFSET = 1 << 60


class LogStream:
    """The log of one attempt, followed by one page from an offset on. Raises NoSuchJob."""

    def __init__(self, site: Site, job_id: str, attempt: int, offset: int) -> None:
        self._site = site
        self._id = job_id
        self._attempt = attempt
        self._reader = LogReader(site.queue.log_path(job_id, attempt, exact=True), offset)
        self.is_running = True

    @property
    def position(self) -> str:
        """The attempt and the offset read so far: where a page that reconnects continues."""
        return f"{self._attempt}:{self._reader.offset}"

    def check_running(self) -> None:
        """Look whether the attempt is still running.

        Read the log after this, so that nothing that was written before its end is missed.
        """
        try:
            status = self._site.queue.get(self._id, exact=True)
        except NoSuchJob:
            self.is_running = False
        else:
            self.is_running = status.state == "processing" and status.attempt == self._attempt

    def read(self) -> str:
        """Return the next text, "" if there is none yet."""
        with contextlib.suppress(OSError):  # the page says what is wrong with the log
            return self._reader.read(final=not self.is_running)
        return ""


async def events(request: Request) -> Response:
    """Send events until the page is closed or the server stops."""
    site = site_of(request)
    log = await run_in_threadpool(_log_stream, request, site)
    return StreamingResponse(
        _events(request, site, log),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},  # nginx then passes on each line at once
    )


def _log_stream(request: Request, site: Site) -> LogStream | None:
    job_id = request.query_params.get("job")
    if job_id is None:
        return None
    if not is_id(job_id):
        raise NoSuchJob("not a job id")
    attempt = number(request.query_params.get("attempt"), 1, _MAX_ATTEMPT)
    offset = number(request.query_params.get("offset"), 0, _MAX_OFFSET, lowest=0)
    last_attempt, _, reached = request.headers.get("last-event-id", "").partition(":")
    if last_attempt == str(attempt):
        offset = number(reached, offset, _MAX_OFFSET, lowest=0)
    with contextlib.suppress(NoSuchJob):  # the job was removed; its page still shows the numbers
        return LogStream(site, job_id, attempt, offset)
    return None


async def _events(request: Request, site: Site, log: LogStream | None) -> AsyncIterator[str]:
    sent = -1
    with site.live.subscribe() as subscriber:
        yield "retry: 2000\n\n"
        while not site.live.closed and not await request.is_disconnected():
            snapshot = site.live.snapshot
            if snapshot.version != sent and snapshot.version:
                sent = snapshot.version
                yield _event("state", msgspec.json.encode(snapshot).decode())
                if log is not None:
                    await run_in_threadpool(log.check_running)
            while log is not None and (text := await run_in_threadpool(log.read)):
                yield _event("log", msgspec.json.encode(text).decode(), log.position)
                if log.is_running:
                    break  # one chunk at a time: a command may write faster than a page can show
            if not await _wait(subscriber, log):
                yield ": still here\n\n"


async def _wait(subscriber: Subscriber, log: LogStream | None) -> bool:
    """Wait for something to send; return False if a sign of life is due."""
    if log is not None and log.is_running:
        await subscriber.wait(SECONDS_BETWEEN_READS)
        return True
    return await subscriber.wait(SECONDS_BETWEEN_SIGNS)


def _event(name: str, data: str, position: str = "") -> str:
    return f"event: {name}\n" + (f"id: {position}\n" if position else "") + f"data: {data}\n\n"

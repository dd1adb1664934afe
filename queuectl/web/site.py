"""What the views of one site share, and how they read a request."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue
from queuectl.record.job import MAX_JOB_BYTES
from queuectl.view.pages import Browser
from queuectl.web.chores import Chores
from queuectl.web.guard import Access
from queuectl.web.hub import Hub
from queuectl.web.page import SAID, VERSION, Pages
from queuectl.web.pulse import Pulse
from queuectl.web.timeline import Timeline

log = logging.getLogger(__name__)

MOST_POSTED = 8 * MAX_JOB_BYTES
"""Bytes of a form: some jobs of the largest size, percent-encoded."""
MOST_FIELDS = 2000


class Site:
    """One queue's web page."""

    def __init__(self, queue: Queue, access: Access) -> None:
        self.queue = queue
        self.access = access
        self.chores = Chores()
        self.browser = Browser(queue.spool.reader)
        self.pulse = Pulse(queue.path)
        self.timeline = Timeline(queue.spool.reader)
        self.hub = Hub(queue, self.browser, self.timeline, self.chores)
        self.pages = Pages({"site": self, "spool": queue.path, "read_only": access.read_only})

    def numbers(self) -> dict[str, int]:
        """Count the jobs of each state, for the header of a page."""
        return {str(state): count for state, count in self.browser.counts().items()}


Form = dict[str, list[str]]
Handler = Callable[[Request, Site, Form], Response]


def site_of(request: Request) -> Site:
    """Return the site that a request is for."""
    return cast(Site, request.app.state.site)


def page(handler: Callable[[Request, Site], Response]) -> Callable[[Request], Any]:
    """Make an endpoint of a view that only looks; it runs in a thread, for it reads the disk."""

    async def endpoint(request: Request) -> Response:
        return await _run(request, handler)

    return endpoint


def action(handler: Handler) -> Callable[[Request], Any]:
    """Make an endpoint of a view that changes something, and is given what a form has sent."""

    async def endpoint(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("", "application/x-www-form-urlencoded"):
            raise InvalidInput(f"a form is sent as application/x-www-form-urlencoded, not {kind}")
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_POSTED:
                raise InvalidInput(f"more than {MOST_POSTED:,} bytes in a form")
        try:
            form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise InvalidInput(f"this is no form: {error}") from None
        return await _run(request, handler, form)

    return endpoint


async def _run(request: Request, handler: Callable[..., Response], *args: Form) -> Response:
    site = site_of(request)
    VERSION.set(site.hub.snapshot.version)
    try:
        return await run_in_threadpool(handler, request, site, *args)
    except (QueuectlError, OSError, HTTPException):
        raise
    except Exception as error:
        debug = bool(os.environ.get("QUEUECTL_DEBUG"))
        log.error("%s: %s: %s", request.url.path, type(error).__name__, error, exc_info=debug)
        return site.pages.refusal(request.scope, 500, "A mistake of queuectl's", _MISTAKE)


def see_other(target: str, said: str = "") -> Response:
    """Answer a POST: look at this page now. `said`, a key of SAID, is told on it."""
    return RedirectResponse(f"{target}?said={said}" if said else target, 303)


def said(request: Request) -> str:
    """What the page is to say of the action before it."""
    return SAID.get(request.query_params.get("said", ""), "")


def whole(text: str | None, default: int, most: int, *, least: int = 1) -> int:
    """Read a number of an address, from `least` to `most`; what is none is the default."""
    digits = (text or "").strip()
    if not digits.isascii() or not digits.isdigit():
        return default
    return max(least, min(int(digits[:19]), most))


_MISTAKE = (
    "Something unexpected has happened. This is a bug: please report it, with what queuectl web "
    "prints under QUEUECTL_DEBUG=1."
)

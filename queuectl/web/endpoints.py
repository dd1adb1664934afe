"""How a request becomes a call of a page's function, and its result an answer."""

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
from queuectl.record.job import MAX_JOB_BYTES
from queuectl.view.status import as_json as encoded
from queuectl.web.rendering import NOTICES, VERSION
from queuectl.web.site import Site

log = logging.getLogger(__name__)

MAX_FORM_BYTES = 8 * MAX_JOB_BYTES
"""A few jobs of the largest size, percent-encoded."""
MAX_FIELDS = 2000
_FORM_TYPE = "application/x-www-form-urlencoded"
_JSON_TYPE = "application/json"
_BUG = (
    "An unexpected error occurred. This is a bug: please report it, with what `queuectl web` "
    "prints when it runs with QUEUECTL_DEBUG=1."
)

Form = dict[str, list[str]]
Endpoint = Callable[[Request], Any]


def site_of(request: Request) -> Site:
    """Return the site that a request is for."""
    return cast(Site, request.app.state.site)


def page(show: Callable[[Request, Site], Response]) -> Endpoint:
    """Make an endpoint that only reads. `show` runs in a thread, because it reads the disk."""

    async def endpoint(request: Request) -> Response:
        return await _run(request, show)

    return endpoint


def action(change: Callable[[Request, Site, Form], Response]) -> Endpoint:
    """Make an endpoint that changes the queue, from the form that the request contains."""

    async def endpoint(request: Request) -> Response:
        return await _run(request, change, await _form(request))

    return endpoint


async def _form(request: Request) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", _FORM_TYPE, _JSON_TYPE):
        raise InvalidInput(f"the content type of a form must be {_FORM_TYPE}, not {kind}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise InvalidInput(f"the form is larger than {MAX_FORM_BYTES:,} bytes")
    try:
        if kind == _JSON_TYPE:
            return {"json": [body.decode()]}
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidInput(f"not a valid form: {error}") from None


async def _run(request: Request, handler: Callable[..., Response], *args: Form) -> Response:
    site = site_of(request)
    VERSION.set(site.live.snapshot.version)
    try:
        return await run_in_threadpool(handler, request, site, *args)
    except (QueuectlError, OSError, HTTPException):
        raise
    except Exception as error:
        debug = bool(os.environ.get("QUEUECTL_DEBUG"))
        log.error("%s: %s: %s", request.url.path, type(error).__name__, error, exc_info=debug)
        return site.renderer.error_page(request.scope, 500, "Internal error", _BUG)


def see_other(target: str, notice: str = "") -> Response:
    """Answer a POST with a redirect to a page, which shows a notice: a key of NOTICES."""
    return RedirectResponse(f"{target}?notice={notice}" if notice else target, 303)


def wants_json(request: Request) -> bool:
    """Return whether a program asks for data in place of a page."""
    accepted = request.headers.get("accept", "")
    return _JSON_TYPE in accepted and "text/html" not in accepted


def as_json(data: Any, status: int = 200) -> Response:
    """Answer a program with one JSON document."""
    return Response(encoded(data), status, media_type=_JSON_TYPE)


def notice(request: Request) -> str:
    """Return what the page says about the action before it."""
    return NOTICES.get(request.query_params.get("notice", ""), "")


def number(text: str | None, default: int, highest: int, *, lowest: int = 1) -> int:
    """Read a whole number of an address and keep it in its range; `default` if it is not one."""
    digits = (text or "").strip()
    if not digits.isascii() or not digits.isdigit():
        return default
    return max(lowest, min(int(digits[:19]), highest))

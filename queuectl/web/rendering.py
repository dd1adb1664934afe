"""Rendering of pages and errors from the templates.

Text from a job can be hostile. Jinja escapes it for HTML, and `printable` spells out characters
that are invisible or change the direction of text (control characters, bidi marks).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from queuectl import clock
from queuectl.errors import InvalidInput
from queuectl.record.ids import is_id
from queuectl.record.job import STATES
from queuectl.view.text import command_of, printable

VERSION: ContextVar[int] = ContextVar("version", default=0)
"""The version of the live snapshot before the page read anything. When the page sees a newer
version, it fetches itself again."""

COLUMNS = {
    "id": "Id",
    "state": "State",
    "command": "Command",
    "priority": "Priority",
    "attempts": "Attempts",
    "created": "Created",
    "changed": "Last change",
    "reason": "Reason",
    "next": "Next to run",
}
"""What each column of a list, and each order, is called on every page."""

NOTICES = {
    "asked": "Asked the worker to stop the job.",
    "cancelled": "Cancelled.",
    "retried": "Moved back to pending.",
    "saved": "Saved. Running workers use the new value at once.",
    "default": "Reset to the default.",
}
"""What a page says after an action. The address contains only the key, so no link can make the page
say anything else."""


def shown(value: object) -> str:
    """Make text safe to read; line ends and tabs stay."""
    lines = str(value).split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def seconds_of(stamp: str | None) -> float | None:
    """Read a timestamp of a record as seconds since the epoch; None if it is not valid."""
    try:
        return clock.parse_timestamp(stamp) if stamp else None
    except InvalidInput:
        return None


def relative(stamp: str | None) -> str:
    """Say how long ago a timestamp was, or how far ahead it is."""
    moment = seconds_of(stamp)
    if moment is None:
        return "-"
    seconds = clock.now() - moment
    if seconds < 0:
        return f"in {clock.format_duration(-seconds)}"
    return f"{clock.format_duration(seconds)} ago"


def took(start: str | None, end: str | None) -> str:
    """Return the time from one timestamp to another."""
    first, last = seconds_of(start), seconds_of(end)
    return "-" if first is None or last is None else clock.format_duration(last - first)


def segment(text: str) -> str:
    """Quote text as one segment of an address."""
    return quote(text, safe="", errors="surrogateescape")


def job_address(job_id: str) -> str:
    """Return the address of a job's page."""
    return f"/jobs/{segment(job_id)}"


def error_message(error: Exception) -> str:
    """Return the message of an error, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class Renderer:
    """The templates of one site. Every page is given `common`."""

    def __init__(self, common: Mapping[str, Any]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("queuectl.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            shown=shown,
            relative=relative,
            segment=segment,
            job_address=job_address,
            command=command_of,
            quoted=shlex.quote,
            took=took,
            duration=clock.format_duration,
        )
        self._environment.tests["job_id"] = is_id
        self._environment.globals.update(
            common, version=VERSION.get, states=STATES, columns=COLUMNS
        )

    def render(
        self,
        template: str,
        code: int = 200,
        headers: Mapping[str, str] | None = None,
        **data: Any,
    ) -> HTMLResponse:
        """Render a page."""
        text = self._environment.get_template(template).render(**data)
        body = text.encode(errors="replace")  # a record may contain a lone surrogate
        return HTMLResponse(body, code, dict(headers or {}))

    def error_page(
        self,
        scope: Mapping[str, Any],
        status: int,
        title: str,
        message: str,
        job_id: str | None = None,
    ) -> Response:
        """Answer with an error, in the format that was asked for: HTML, JSON or one line.

        The HTML page links to the job with `job_id`, if there is one.
        """
        if (plain := _for_programs(scope, status, shown(message))) is not None:
            return plain
        return self.render(
            "error.html", status, title=title, message=message, job_id=job_id, nav=""
        )

    def ask_for_token(self, scope: Mapping[str, Any], *, wrong: bool) -> Response:
        """Answer a request that does not have the token."""
        message = "wrong token" if wrong else "token required"
        message += ": send it in the header `Authorization: Bearer TOKEN`"
        headers = {"WWW-Authenticate": "Bearer"}
        if (plain := _for_programs(scope, 401, message, headers)) is not None:
            return plain
        return self.render("token.html", 401, headers, wrong=wrong, path=scope["path"])

    def signed_in(self, path: str, query: str) -> Response:
        """Go on to a page of this site, without the token in its address.

        This is a page, not a redirect: when a browser follows a redirect from a link in a mail, it
        does not yet send a cookie that is SameSite=Strict.
        """
        local = "/" + quote(path.lstrip("/\\"))
        return self.render("signed-in.html", target=f"{local}?{query}" if query else local)


def _for_programs(
    scope: Mapping[str, Any],
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> Response | None:
    """Make the answer for a client that does not ask for HTML; None for a browser."""
    accepted = Headers(raw=scope["headers"]).get("accept", "")
    if "text/html" in accepted:
        return None
    if "application/json" in accepted:
        return JSONResponse({"error": message}, status, dict(headers or {}))
    return PlainTextResponse(message + "\n", status, dict(headers or {}))

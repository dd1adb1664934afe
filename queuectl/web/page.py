"""How pages are made: the templates, what they may call, and the pages that say no.

Everything that comes from a job is hostile until shown: Jinja escapes it for HTML, and
`printable` spells out what is not to be seen or turns the text around (controls, bidi marks).
"""

from __future__ import annotations

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
"""The hub's version before a page has read anything: what is newer, the page asks for again."""

SAID = {
    "asked": "The worker has been asked to end it.",
    "cancelled": "Cancelled.",
    "retried": "Put back to pending.",
    "saved": "Saved. Running workers take it up at once.",
    "default": "Back to the default.",
}
"""What a page says after an action. The address holds only the word, so it cannot be forged."""


def shown(value: object) -> str:
    """Make a text safe to read; lines and tabs stay."""
    lines = str(value).split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def when(stamp: str | None) -> float | None:
    """Read a timestamp of a record as seconds since the epoch; None if it is none."""
    try:
        return clock.parse_timestamp(stamp) if stamp else None
    except InvalidInput:
        return None


def relative(stamp: str | None) -> str:
    """How long ago a moment was, or how long it is to it."""
    moment = when(stamp)
    if moment is None:
        return "-"
    seconds = clock.now() - moment
    if seconds < 0:
        return f"in {clock.format_duration(-seconds)}"
    return f"{clock.format_duration(seconds)} ago"


def took(start: str | None, end: str | None) -> str:
    """The time from one moment to another."""
    first, last = when(start), when(end)
    return "-" if first is None or last is None else clock.format_duration(last - first)


def segment(text: str) -> str:
    """Write a text as one part of an address."""
    return quote(text, safe="", errors="surrogateescape")


def error_message(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class Pages:
    """The templates of one site; `common` is what every page is given."""

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
            command=command_of,
            took=took,
            duration=clock.format_duration,
        )
        self._environment.tests["job_id"] = is_id
        self._environment.globals.update(common, version=VERSION.get, states=STATES)

    def render(
        self,
        template: str,
        code: int = 200,
        headers: Mapping[str, str] | None = None,
        **data: Any,
    ) -> HTMLResponse:
        """Make a page."""
        text = self._environment.get_template(template).render(**data)
        body = text.encode(errors="replace")  # a lone surrogate of a record is no UTF-8
        return HTMLResponse(body, code, dict(headers or {}))

    def refusal(self, scope: Mapping[str, Any], status: int, title: str, message: str) -> Response:
        """Say why something cannot be had, in what was asked for: a page, JSON, or a line."""
        if (plain := _for_programs(scope, status, shown(message))) is not None:
            return plain
        return self.render("error.html", status, title=title, message=message, nav="")

    def ask_for_token(self, scope: Mapping[str, Any], *, wrong: bool) -> Response:
        """Ask who comes without the token for it."""
        words = "that is not the token" if wrong else "the token is wanted"
        words += ": send it as Authorization: Bearer TOKEN"
        headers = {"WWW-Authenticate": "Bearer"}
        if (plain := _for_programs(scope, 401, words, headers)) is not None:
            return plain
        return self.render("token.html", 401, headers, wrong=wrong, path=scope["path"])

    def signed_in(self, path: str, query: str) -> Response:
        """Go on to a page of ours, now without the token in its address.

        Not by a redirect: a browser that follows one from a link in a mail does not yet send a
        cookie that is SameSite=Strict.
        """
        local = "/" + quote(path.lstrip("/\\"))
        return self.render("signed-in.html", target=f"{local}?{query}" if query else local)


def _for_programs(
    scope: Mapping[str, Any], status: int, words: str, headers: Mapping[str, str] | None = None
) -> Response | None:
    """Make the answer for who does not ask for HTML, as every browser does."""
    accepted = Headers(raw=scope["headers"]).get("accept", "")
    if "text/html" in accepted:
        return None
    if "application/json" in accepted:
        return JSONResponse({"error": words}, status, dict(headers or {}))
    return PlainTextResponse(words + "\n", status, dict(headers or {}))

"""Who may see the page, and what a browser may do with it.

Every request passes here first. The Host header must name this machine's loopback or the
address that was bound: a name of somebody else's that resolves to us (DNS rebinding) is
refused. Then the token is wanted, on loopback too, for every user of this machine reaches that.
What changes something is a POST that a page of ours has sent: its Origin must be ours.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuectl.web.page import Pages

SAFE_METHODS = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-StopSwitch": "no-store",
}
MACHINES = ("/healthz", "/metrics")
"""What programs ask: a token in the address lets them in at once, for they follow no page on."""
LET_IN = "queuectl.let_in"
"""In a request's scope: whether it has shown the token. Without it only `/healthz` is asked."""
_COOKIE_SECONDS = 30 * 86400


class Access(Struct, frozen=True, kw_only=True):
    """Where the page is served, to whom: with a token, or None for all who reach the address."""

    host: str = "127.0.0.1"
    port: int = 8374
    token: str | None = None
    public_url: str | None = None
    read_only: bool = False

    @property
    def cookie(self) -> str:
        """The cookie's name: browsers share cookies among the ports of a host, queues do not."""
        return f"queuectl-{self.port}"

    @property
    def pass_(self) -> str:
        """What the cookie holds: made from the token, which itself is stored nowhere."""
        return hashlib.sha256(f"queuectl web {self.token}".encode()).hexdigest()

    @property
    def address(self) -> str:
        """Where a person opens the page, with the token if there is one."""
        host = socket.gethostname() if _address(self.host, "is_unspecified") else self.host
        host = f"[{host}]" if ":" in host else host
        base = (self.public_url or f"http://{host}:{self.port}").rstrip("/")
        return f"{base}/?{urlencode({'token': self.token})}" if self.token else f"{base}/"

    def names(self, host: str) -> bool:
        """Whether a Host header names us."""
        name = _host_of(host)
        if name == "localhost" or _address(name, "is_loopback") or name == _host_of(self.host):
            return True
        if self.public_url and name == _host_of(urlsplit(self.public_url).netloc):
            return True
        if _address(self.host, "is_unspecified"):  # bound to all addresses: no name is an address
            return _address(name) or name in (socket.gethostname().lower(), socket.getfqdn())
        return False


class Guard:
    """The ASGI application that stands before all others."""

    def __init__(self, app: ASGIApp, access: Access, pages: Pages) -> None:
        self.app = app
        self.access = access
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope, Headers(scope=scope))
        await (answer or self.app)(scope, receive, send_guarded)

    def _answer(self, scope: MutableMapping[str, Any], headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.names(hosts[0]):
            return self.pages.refusal(
                scope, 403, "This page is not served under that name", _NOT_OUR_NAME
            )
        if self.access.token is not None and (answer := self._sign_in(scope, headers)):
            return answer
        if scope["method"] in SAFE_METHODS:
            return None
        if scope["method"] != "POST":
            return self.pages.refusal(scope, 405, "Only GET and POST", "Nothing else is served.")
        if not self._is_own(headers, hosts[0]):
            return self.pages.refusal(scope, 403, "Sent from another site", _NOT_OUR_PAGE)
        if self.access.read_only:
            return self.pages.refusal(scope, 403, "Read-only", _READ_ONLY)
        return None

    def _sign_in(self, scope: MutableMapping[str, Any], headers: Headers) -> Response | None:
        """Answer all who have not shown the token, and take it from who brings it."""
        token, expected = self.access.token or "", self.access.pass_
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in query if key == "token"]
        right = bool(given) and _same(given[0], token)
        if right and scope["path"] not in MACHINES:
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            answer = self.pages.signed_in(scope["path"], rest)
            answer.set_cookie(
                self.access.cookie,
                expected,
                max_age=_COOKIE_SECONDS,
                httponly=True,
                samesite="strict",
                secure=(self.access.public_url or "").startswith("https:"),
            )
            return answer
        cookie = cookie_parser(headers.get("cookie", "")).get(self.access.cookie, "")
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        right = right or (scheme.lower() == "bearer" and _same(bearer.strip(), token))
        scope[LET_IN] = right or _same(cookie, expected)
        if scope[LET_IN] or scope["path"].startswith("/static/"):
            return None
        if scope["path"] == "/healthz" and not given:  # a probe knows no token; it is told little
            return None
        return self.pages.ask_for_token(scope, wrong=bool(given))

    def _is_own(self, headers: Headers, host: str) -> bool:
        """Whether a page of ours has sent it.

        A form that is sent without our script has Origin "null", for we send no referrer; then
        the browser's Sec-Fetch-Site decides, which no page can forge.
        """
        origin = headers.get("origin", "null")
        if origin == "null":
            return headers.get("sec-fetch-site") == "same-origin"
        own = {host.lower(), urlsplit(self.access.public_url or "").netloc.lower()}
        return urlsplit(origin).netloc.lower() in own - {""}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or _address(host, "is_loopback")


def is_base(url: str) -> bool:
    """Whether an address is that of a host alone: no user, no path, no query."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    rest = (parts.username, parts.password, parts.path.strip("/"), parts.query, parts.fragment)
    return parts.scheme in ("http", "https") and bool(host) and not any(rest)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _host_of(header: str) -> str:
    """Take the port and brackets off: `[::1]:8374` is `::1`."""
    text = header.strip().lower()
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        return address if not rest or rest.startswith(":") else text
    return text if text.count(":") > 1 else text.partition(":")[0]


def _address(text: str, quality: str = "") -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return bool(getattr(address, quality)) if quality else True


_NOT_OUR_NAME = (
    "Open it under the address that queuectl web has printed. Behind a proxy, start it with "
    "--public-url and the address that people use."
)
_NOT_OUR_PAGE = (
    "What changes the queue is taken from queuectl's own pages alone. Reload the page and try "
    "again; a program uses the queuectl command or the Python API."
)
_READ_ONLY = "This page was started with --read-only: it shows the queue and changes nothing."

"""Access control: who may see the page, and what a browser may do with it.

Every request passes here first. Its Host header must name loopback or the address that the server
listens on: any other name that resolves to this machine (DNS rebinding) is refused. Then the token
is required, on loopback too, because every user of this machine can reach loopback. A request that
changes the queue must be a POST from a page of this site: its Origin must be ours. A program's has
no Origin, and the token in a header, which no page of another site can make a browser send.
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

from queuectl.web.rendering import Renderer

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
    "Cache-Control": "no-store",
}
FOR_PROGRAMS = ("/healthz", "/metrics")
"""Paths that programs ask for. With the token in the address they get the answer at once, because
a program does not follow the page that a browser gets first."""
HAS_TOKEN = "queuectl.has_token"
"""In the scope of a request: whether it had the token. Without it only `/healthz` is answered."""
_COOKIE_SECONDS = 30 * 86400


class Access(Struct, frozen=True, kw_only=True):
    """Where the page is served, and to whom: without a token, to everyone who reaches it."""

    host: str = "127.0.0.1"
    port: int = 8374
    token: str | None = None
    public_url: str | None = None
    read_only: bool = False

    @property
    def cookie(self) -> str:
        """The name of the cookie. It contains the port: a host's ports share their cookies."""
        return f"queuectl-{self.port}"

    @property
    def cookie_value(self) -> str:
        """The value of the cookie: a hash of the token. The token itself is not stored."""
        return hashlib.sha256(f"queuectl web {self.token}".encode()).hexdigest()

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token if there is one."""
        host = socket.gethostname() if _address(self.host, "is_unspecified") else self.host
        host = f"[{host}]" if ":" in host else host
        base = (self.public_url or f"http://{host}:{self.port}").rstrip("/")
        return f"{base}/?{urlencode({'token': self.token})}" if self.token else f"{base}/"

    def names(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        name = _host_of(host)
        if name == "localhost" or _address(name, "is_loopback") or name == _host_of(self.host):
            return True
        if self.public_url and name == _host_of(urlsplit(self.public_url).netloc):
            return True
        if _address(self.host, "is_unspecified"):  # all addresses of this machine
            return _address(name) or name in (socket.gethostname().lower(), socket.getfqdn())
        return False


class AccessMiddleware:
    """ASGI middleware that refuses requests and adds the security headers."""

    def __init__(self, app: ASGIApp, access: Access, renderer: Renderer) -> None:
        self.app = app
        self.access = access
        self.renderer = renderer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope, Headers(scope=scope))
        await (answer or self.app)(scope, receive, send_with_headers)

    def _answer(self, scope: MutableMapping[str, Any], headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.names(hosts[0]):
            return self.renderer.error_page(scope, 403, "Unknown host name", _UNKNOWN_HOST)
        if self.access.token is not None and (answer := self._sign_in(scope, headers)):
            return answer
        if scope["method"] in SAFE_METHODS:
            return None
        if scope["method"] != "POST":
            return self.renderer.error_page(scope, 405, "Method not allowed", "Use GET or POST.")
        if not (self._is_own(headers, hosts[0]) or self._is_of_a_program(headers)):
            return self.renderer.error_page(scope, 403, "Request from another site", _OTHER_SITE)
        if self.access.read_only:
            return self.renderer.error_page(scope, 403, "Read-only", _READ_ONLY)
        return None

    def _sign_in(self, scope: MutableMapping[str, Any], headers: Headers) -> Response | None:
        """Answer a request without the token, and one with the token in its address."""
        token, expected = self.access.token or "", self.access.cookie_value
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in query if key == "token"]
        right = bool(given) and _same(given[0], token)
        if right and scope["path"] not in FOR_PROGRAMS:
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            answer = self.renderer.signed_in(scope["path"], rest)
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
        right = right or self._has_bearer(headers)
        scope[HAS_TOKEN] = right or _same(cookie, expected)
        if scope[HAS_TOKEN] or scope["path"].startswith("/static/"):
            return None
        if scope["path"] == "/healthz" and not given:  # a probe has no token
            return None
        return self.renderer.ask_for_token(scope, wrong=bool(given))

    def _has_bearer(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _same(bearer.strip(), self.access.token or "")

    def _is_of_a_program(self, headers: Headers) -> bool:
        """Return whether a program sent the request: it has the token, and no browser's headers.

        A proxy may add the token to all that a browser sends, also for a page of another site. But
        browsers send an Origin with every POST to another site.
        """
        from_browser = "origin" in headers or "sec-fetch-site" in headers
        return bool(self.access.token) and self._has_bearer(headers) and not from_browser

    def _is_own(self, headers: Headers, host: str) -> bool:
        """Return whether a page of this site sent the request.

        A form sent without our script has the Origin "null", because our pages send no referrer.
        Then the browser's Sec-Fetch-Site decides, which no page can forge.
        """
        origin = headers.get("origin", "null")
        if origin == "null":
            return headers.get("sec-fetch-site") == "same-origin"
        own = {host.lower(), urlsplit(self.access.public_url or "").netloc.lower()}
        return urlsplit(origin).netloc.lower() in own - {""}


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    return host == "localhost" or _address(host, "is_loopback")


def is_base(url: str) -> bool:
    """Return whether an address has a host and nothing more: no user, no path, no query."""
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
    """Remove the port and the brackets: `[::1]:8374` is `::1`."""
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


_UNKNOWN_HOST = (
    "Open the address that `queuectl web` printed. Behind a proxy, start it with --public-url and "
    "the address that people use."
)
_OTHER_SITE = (
    "Only queuectl's own pages can change the queue. Reload the page and try again. Programs send "
    "the token in the header `Authorization: Bearer TOKEN`, and no Origin."
)
_READ_ONLY = "`queuectl web` was started with --read-only: the page cannot change the queue."

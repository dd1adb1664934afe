"""`queuectl web`: serve the web page."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.printing import note
from queuectl.errors import InvalidInput, QueuectlError

MISSING = (
    "the web page needs packages that are not installed: in a clone of queuectl, run "
    "`pip install '.[web]'`"
)
_MIN_TOKEN = 12

HostOption = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
PortOption = Annotated[
    int,
    typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 is any free port."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        envvar="QUEUECTL_WEB_TOKEN",
        show_envvar=False,
        help="Token that gives access [default: $QUEUECTL_WEB_TOKEN, or a new token at each "
        "start].",
    ),
]
NoTokenOption = Annotated[
    bool,
    typer.Option(
        "--no-token", help="Give all users of this machine access; only when listening on loopback."
    ),
]
PublicUrlOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address that people use, if the page is behind a proxy."),
]
ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", help="Show everything and refuse all changes.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the address as a JSON document.")]


def web(
    context: typer.Context,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8374,
    token: TokenOption = None,
    no_token: NoTokenOption = False,
    public_url: PublicUrlOption = None,
    read_only: ReadOnlyOption = False,
    open_: OpenOption = False,
    as_json: JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Serve a live web page of the queue, and print its address.

    Anyone who has access to the page can run commands as the workers' user. Therefore it listens
    on loopback by default, and access needs a token: the printed address contains the token, and
    the browser keeps it in a cookie. Ctrl-C stops the server.

    \b
    Examples:
      queuectl web
      queuectl web --open --port 0
      queuectl web --host 0.0.0.0 --read-only
      queuectl web --public-url https://queue.example.org
    """
    app, web_access, server = _load()
    if public_url is not None and not web_access.is_base(public_url):
        raise InvalidInput(
            f"{public_url!r} is not an address such as https://queue.example.org, without a path"
        )
    secret = _token(token, none=no_token, private=web_access.is_loopback(host) and not public_url)
    queue = shared.open_queue(context, spool, create=True)
    listener = server.bind(host, port)
    access = web_access.Access(
        host=host,
        port=listener.getsockname()[1],
        token=secret,
        public_url=public_url,
        read_only=read_only,
    )
    with contextlib.ExitStack() as ending:

        def ready() -> None:
            _announce(access.address, secret, queue.path, as_json)
            if open_:
                ending.enter_context(_browser_at(access.address))

        server.serve(app.make_app(queue, access), listener, ready)
    if sys.stderr.isatty():
        note("stopped")


def _load() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Import what serves. Raises QueuectlError if the packages it needs are not installed."""
    try:
        from queuectl.web import access, app, server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("starlette", "uvicorn", "jinja2", "anyio"):
            raise QueuectlError(MISSING) from None
        raise
    return app, access, server


def _announce(address: str, token: str | None, spool: str, as_json: bool) -> None:
    document = {"url": address, "token": token, "spool": spool}
    render.show(document, as_json, lambda _: print(address))
    sys.stdout.flush()
    note(f"showing {spool}; press Ctrl-C to stop")


def _token(given: str | None, *, none: bool, private: bool) -> str | None:
    """Return the token to use: none if `none`, the given one, or a new one."""
    if none and given is not None:
        raise InvalidInput(
            "--no-token cannot be used with a token, which --token or $QUEUECTL_WEB_TOKEN gives"
        )
    if none and not private:
        raise InvalidInput(
            "--no-token works only on loopback and without --public-url: anyone who reaches the "
            "page can run commands as you"
        )
    if none:
        return None
    if given is None:
        import secrets

        return secrets.token_urlsafe(24)
    if len(given) < _MIN_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
        raise InvalidInput(
            f"the token must be at least {_MIN_TOKEN} ASCII characters, without spaces"
        )
    return given


@contextlib.contextmanager
def _browser_at(address: str) -> Iterator[None]:
    """Open the browser at an address, through a temporary file that redirects to it.

    The address contains the token, so it cannot be in the browser's command line: every user of
    the machine can see that.
    """
    import html
    import tempfile
    import threading
    import webbrowser
    from pathlib import Path

    with tempfile.NamedTemporaryFile("w", prefix="queuectl-", suffix=".html") as file:  # 0600
        target = html.escape(address)
        file.write(
            f'<!doctype html><title>queuectl</title><meta http-equiv="refresh" '
            f'content="0;url={target}"><a href="{target}">Show the queue</a>\n'
        )
        file.flush()
        where = Path(file.name).as_uri()
        # In a thread, because `open` waits for a browser that runs in the terminal.
        threading.Thread(target=webbrowser.open, args=(where,), daemon=True).start()
        yield

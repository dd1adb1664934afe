"""`queuectl web`: the web page."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.render import note, print_json
from queuectl.errors import InvalidInput, QueuectlError

MISSING = "the web page needs its extra: pip install 'queuectl-spool[web]'"
_LEAST_TOKEN = 12


def web(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 is any free one.")
    ] = 8374,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            envvar="QUEUECTL_WEB_TOKEN",
            show_envvar=False,
            help="Let in only who brings it [default: $QUEUECTL_WEB_TOKEN, else one that is made "
            "at each start].",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="On loopback: let in every user of this machine."),
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Behind a proxy: the address that people use."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, change nothing.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the address as a JSON document.")
    ] = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Show the queue as a web page, live, until stopped; print its address.

    Whoever is let in may run commands as the workers' user. So it listens on loopback, and lets
    in who has its token: the printed address holds it, and the browser keeps it in a cookie.

    \b
    Examples:
      queuectl web
      queuectl web --open --port 0
      queuectl web --host 0.0.0.0 --read-only
      queuectl web --public-url https://queue.example.org
    """
    try:
        from queuectl.web import access as web_access
        from queuectl.web import app, server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("starlette", "uvicorn", "jinja2", "anyio"):
            raise QueuectlError(MISSING) from None
        raise

    if public_url is not None and not web_access.is_base(public_url):
        raise InvalidInput(
            f"{public_url!r} is no address such as https://queue.example.org, with nothing after it"
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

    def ready() -> None:
        if as_json:
            print_json({"url": access.address, "token": secret, "spool": queue.path})
        else:
            print(access.address)
        sys.stdout.flush()
        note(f"showing {queue.path}; Ctrl-C ends it")
        if open_:
            ending.enter_context(_browser_at(access.address))

    with contextlib.ExitStack() as ending:
        server.serve(app.make_app(queue, access), listener, ready)
    if sys.stderr.isatty():
        note("stopped")


def _token(given: str | None, *, none: bool, private: bool) -> str | None:
    """Choose the token: the one that is given, none if that is wanted, else a new one."""
    if none and given is not None:
        raise InvalidInput(
            "--no-token, and yet a token is given: by --token or $QUEUECTL_WEB_TOKEN"
        )
    if none and not private:
        raise InvalidInput(
            "--no-token is for loopback alone, without --public-url: whoever reaches the page "
            "runs commands as you"
        )
    if none:
        return None
    if given is None:
        import secrets

        return secrets.token_urlsafe(24)
    if len(given) < _LEAST_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
        raise InvalidInput(
            f"a token is a password: at least {_LEAST_TOKEN} characters of ASCII, and no spaces"
        )
    return given


@contextlib.contextmanager
def _browser_at(address: str) -> Iterator[None]:
    """Open the browser at an address, by a file that sends it there and is gone at the end.

    Not by its command line: every user of the machine sees that, and the token would be in it.
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
        # In a thread: one that runs in the terminal is waited for.
        threading.Thread(target=webbrowser.open, args=(where,), daemon=True).start()
        yield

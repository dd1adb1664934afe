"""`queuectl web`: the web page."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.render import note
from queuectl.errors import InvalidInput, QueuectlError

MISSING = "the web page needs its extra: pip install 'queuectl-spool[web]'"
_LEAST_TOKEN = 12


def web(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; elsewhere, with a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 is any free one.")
    ] = 8374,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            envvar="QUEUECTL_WEB_TOKEN",
            show_envvar=False,
            help="Let in only who brings it [default: made where others can reach the page; "
            "none on loopback; or $QUEUECTL_WEB_TOKEN].",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Behind a proxy: the address that people use."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, change nothing.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Show the queue as a web page, live, until stopped; print its address.

    Whoever reaches the page may run commands as the workers' user. It listens on loopback; at
    another address, or behind a proxy, it asks for a token, which the printed address holds.

    \b
    Examples:
      queuectl web
      queuectl web --open --port 0
      queuectl web --host 0.0.0.0 --read-only
      queuectl web --public-url https://queue.example.org
    """
    try:
        from queuectl.web import app, guard, server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("starlette", "uvicorn", "jinja2", "anyio"):
            raise QueuectlError(MISSING) from None
        raise

    queue = shared.open_queue(context, spool, create=True)
    if token is not None and len(token) < _LEAST_TOKEN:
        raise InvalidInput(f"a token has at least {_LEAST_TOKEN} characters: it is a password")
    if public_url is not None and not public_url.startswith(("http://", "https://")):
        raise InvalidInput(f"{public_url!r} is not an address such as https://queue.example.org")
    if token is None and (public_url or not guard.is_loopback(host)):
        import secrets

        token = secrets.token_urlsafe(24)
    listener = server.bind(host, port)
    port = listener.getsockname()[1]
    access = guard.Access(
        host=host, port=port, token=token, public_url=public_url, read_only=read_only
    )
    address = access.address

    def ready() -> None:
        print(address, flush=True)
        note(f"showing {queue.path}; Ctrl-C ends it")
        if open_:
            import webbrowser

            webbrowser.open(address)

    server.serve(app.make_app(queue, access), listener, ready)
    if sys.stderr.isatty():
        note("stopped")

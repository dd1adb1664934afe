"""`queuectl init`: make a spool."""

from __future__ import annotations

import typer

from queuectl.cli import app, render


def init(
    context: typer.Context, as_json: app.JsonOption = False, spool: app.SpoolOption = None
) -> None:
    """Make a spool, and print its path.

    Nothing happens if it exists already. `enqueue`, `worker start` and `config set` make one too.

    \b
    Examples:
      queuectl init
      queuectl init --spool /var/lib/queuectl
    """
    made = {"spool": app.open_queue(context, spool, create=True).path}
    render.show(made, as_json, lambda made: print(made["spool"]))

"""`queuectl status`: the number of jobs and workers."""

from __future__ import annotations

import typer

from queuectl.cli import app, render


def status(
    context: typer.Context, as_json: app.JsonOption = False, spool: app.SpoolOption = None
) -> None:
    """Show the number of jobs in each state, and the workers.

    \b
    Examples:
      queuectl status
      queuectl status --json | jq .jobs.pending
    """
    render.show(app.open_queue(context, spool).status(), as_json, render.status)

"""`queuectl show`: one job in detail."""

from __future__ import annotations

import typer

from queuectl.cli import app, render


def show(
    context: typer.Context,
    job_id: app.JobArgument,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Show a job's state, fields and attempts.

    \b
    Examples:
      queuectl show job1
      queuectl show job1 --json | jq .history
    """
    render.show(app.open_queue(context, spool).get(job_id), as_json, render.job)

"""`queuectl status`: the number of jobs and workers."""

from __future__ import annotations

import typer

from queuectl.cli import app, render
from queuectl.queue import Queue
from queuectl.record.job import STATES
from queuectl.view.status import QueueStatus


def status(
    context: typer.Context, as_json: app.JsonOption = False, spool: app.SpoolOption = None
) -> None:
    """Show the number of jobs in each state, and the workers.

    \b
    Examples:
      queuectl status
      queuectl status --json | jq .jobs.pending
    """
    seen = app.look(
        context, spool, Queue.status, lambda path: QueueStatus(path, dict.fromkeys(STATES, 0), [])
    )
    render.show(seen, as_json, render.status)

"""`queuectl remove`: remove single jobs that have ended."""

from __future__ import annotations

import sys
from functools import partial

import typer

from queuectl.cli import app
from queuectl.cli.each import change_each


def remove(
    context: typer.Context,
    job_ids: app.JobsArgument,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Remove completed or dead jobs permanently, with their logs.

    A prefix of an id is taken only at a terminal: a script must give the whole id.

    \b
    Examples:
      queuectl remove job1 job2
    """
    queue = app.open_queue(context, spool)
    exact = as_json or not sys.stdin.isatty()
    removed = partial(queue.remove, exact=exact)
    change_each(job_ids, removed, as_json, lambda _, job_id: f"{job_id} removed")

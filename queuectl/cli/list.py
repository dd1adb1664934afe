"""`queuectl list`: a table of jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl import arguments
from queuectl.cli import app, render
from queuectl.cli.printing import note

StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        autocompletion=app.complete_state,
        help="State of the jobs: pending, processing, completed, failed or dead [default: all].",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=1, metavar="N", help="Maximum number of jobs to list."),
]


def list_(
    context: typer.Context,
    state: StateOption = None,
    limit: LimitOption = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """List jobs by state, newest first.

    Running jobs come first, then waiting jobs, then jobs that have ended.

    \b
    Examples:
      queuectl list
      queuectl list --state failed --state dead
      queuectl list --limit 20 --json | jq -r '.[].id'
    """
    states = arguments.states(state or [])
    found = app.look(
        context, spool, lambda queue: queue.list(states or None, limit=limit), lambda _: []
    )
    if found or as_json:
        render.show(found, as_json, render.jobs)
    else:
        note(
            f"no {' or '.join(states)} jobs"
            if states
            else "no jobs: `queuectl enqueue 'echo hello'` adds one"
        )

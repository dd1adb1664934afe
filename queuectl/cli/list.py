"""`queuectl list`: a table of jobs."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from queuectl import arguments
from queuectl.cli import app, render
from queuectl.cli.printing import note, paged
from queuectl.view.pages import SORTS, Sort
from queuectl.view.text import printable

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
SortOption = Annotated[
    str | None,
    typer.Option(
        metavar="ORDER",
        autocompletion=lambda: list(SORTS),
        help=f"Order of the jobs: {', '.join(SORTS)} [default: by state, waiting jobs in the order "
        "in which they will run, others by last change].",
    ),
]
SearchOption = Annotated[
    str, typer.Option(metavar="TEXT", help="List only jobs with this text in the id or command.")
]


def list_(
    context: typer.Context,
    state: StateOption = None,
    limit: LimitOption = None,
    sort: SortOption = None,
    search: SearchOption = "",
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """List jobs by state.

    Running jobs come first, then waiting jobs in the order in which they will run, then jobs that
    have ended, newest first. At a terminal, a long list goes through $PAGER.

    \b
    Examples:
      queuectl list
      queuectl list --state failed --state dead
      queuectl list --search backup --sort created
      queuectl list --limit 20 --json | jq -r '.[].id'
    """
    states = arguments.states(state or [])
    order = cast("Sort | None", sort)  # `list` checks it
    found = app.look(
        context,
        spool,
        lambda queue: queue.list(states or None, limit=limit, search=search, sort=order),
        lambda _: [],
    )
    if found or as_json:
        render.show(found, as_json, paged(render.jobs))
    elif search:
        note(printable(f"no {' or '.join(states)} job has {search!r} in its id or command"))
    else:
        note(
            f"no {' or '.join(states)} jobs"
            if states
            else "no jobs: `queuectl enqueue 'echo hello'` adds one"
        )

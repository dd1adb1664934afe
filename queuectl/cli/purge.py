"""`queuectl purge`: remove jobs that have ended."""

from __future__ import annotations

from itertools import chain
from typing import Annotated

import typer

from queuectl import arguments
from queuectl.cli import app, render
from queuectl.cli.printing import progress
from queuectl.clock import parse_duration
from queuectl.queue import Queue
from queuectl.record.job import State

StateOption = Annotated[
    list[str],
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        autocompletion=app.complete_state,
        help="State of the jobs: completed or dead.",
    ),
]
OlderThanOption = Annotated[
    str, typer.Option(metavar="DURATION", help="Minimum time since the job ended: 12h, 7d.")
]


def purge(
    context: typer.Context,
    state: StateOption,
    older_than: OlderThanOption,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Remove old completed or dead jobs permanently.

    Their logs are removed too.

    \b
    Examples:
      queuectl purge --state completed --older-than 7d
      queuectl purge --state dead --older-than 0
    """
    remove(app.open_queue(context, spool), arguments.states(state), older_than, as_json)


def remove(queue: Queue, states: list[State], older_than: str, as_json: bool) -> None:
    """Remove the jobs of some states and print how many were removed."""
    count, seconds = 0, parse_duration(older_than)
    steps = [queue.removing(state, seconds) for state in states]  # raises before the first removal
    with progress("removing", sum(queue.status().jobs[state] for state in states)) as bar:
        for removed in chain.from_iterable(steps):
            count += removed
            bar.update(removed)
    render.show({"removed": count}, as_json, lambda _: print(f"{count} removed"))

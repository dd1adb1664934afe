"""`queuectl wait`: wait until jobs have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from queuectl.cli import app, render
from queuectl.cli.printing import progress, styled
from queuectl.record.job import State

TimeoutOption = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Longest time to wait: 30s, 10m [default: no limit]."),
]


def wait(
    context: typer.Context,
    job_ids: app.JobsArgument,
    timeout: TimeoutOption = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Wait until jobs have ended.

    Exit status: 0 if all jobs completed, 1 if any job is dead, 124 on timeout.

    \b
    Examples:
      queuectl wait job1 job2 --timeout 10m
      queuectl wait $(queuectl enqueue 'make test') && echo passed
    """
    longest = app.duration(timeout)
    queue = app.open_queue(context, spool)
    states = [queue.get(job_id).state for job_id in job_ids]
    if any(state not in ("completed", "dead") for state in states):
        render.tell_if_no_worker(queue)
    with progress("waiting", len(job_ids)) as bar:
        ended = queue.wait(
            job_ids,
            timeout=longest,
            progress=lambda count: bar.update(count - bar.pos),
        )
    render.show(ended, as_json, _print_states)
    if "dead" in ended.values():
        raise typer.Exit(1)


def _print_states(ended: Mapping[str, State]) -> None:
    for job_id, state in ended.items():
        print(f"{job_id} {styled(state, state)}")

"""`queuectl dlq`: the dead letter queue."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.each import change_each
from queuectl.cli.printing import note, paged
from queuectl.cli.purge import remove
from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput
from queuectl.view.text import printable

app = shared.group("List, retry or remove dead jobs (the dead letter queue).")

DeadJobsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...", autocompletion=shared.complete_job, help="Dead jobs to run again."
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Retry every dead job that is valid.")]
OlderThanOption = Annotated[
    str, typer.Option(metavar="DURATION", help="Minimum time since the job died: 12h, 7d.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Remove without a question.")]


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List dead jobs, and why each of them is dead.

    \b
    Examples:
      queuectl dlq list
      queuectl dlq list --json | jq -r '.[] | [.id, .problem // .history[-1].error] | @tsv'
    """
    found = shared.look(context, spool, lambda queue: queue.list("dead"), lambda _: [])
    if found or as_json:
        render.show(found, as_json, paged(render.dead_jobs))
    else:
        note("no dead jobs")


@app.command()
def retry(
    context: typer.Context,
    job_ids: DeadJobsArgument = None,
    all_: AllOption = False,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Run dead jobs again.

    Each job goes back to pending/ with attempts 0; its history is kept. A failed job can be
    named too: it then runs without waiting for its retry. A job that was cancelled before its
    time runs at its time.

    \b
    Examples:
      queuectl dlq retry job1
      queuectl dlq retry --all
    """
    if job_ids and all_:
        raise InvalidInput("--all is for every dead job: leave out the ids, or leave out --all")
    if not job_ids and not all_:
        raise InvalidInput("name the jobs to retry, or use --all")
    queue = shared.open_queue(context, spool)
    if all_:
        dead = queue.list("dead")
        for status in dead:
            if status.problem is not None:
                note(printable(f"{status.id} is skipped: {status.problem}"))
        job_ids = [status.id for status in dead if status.problem is None]
        if not dead:
            note("no dead jobs")
    change_each(job_ids or [], queue.retry, as_json, lambda _, job_id: f"{job_id} pending")


@app.command()
def purge(
    context: typer.Context,
    older_than: OlderThanOption = "0",
    yes: YesOption = False,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Remove dead jobs permanently, with their logs.

    At a terminal, queuectl asks first if all dead jobs are to go.

    \b
    Examples:
      queuectl dlq purge
      queuectl dlq purge --older-than 30d
    """
    queue = shared.open_queue(context, spool)
    if parse_duration(older_than) == 0 and not yes and sys.stdin.isatty():
        count = queue.status().jobs["dead"]
        if count and not typer.confirm(
            f"Remove {count} dead job{'s' * (count > 1)} with the logs?", err=True
        ):
            raise typer.Exit(1)
    remove(queue, ["dead"], older_than, as_json)

"""`queuectl dlq`: the dead letter queue, the jobs that were given up on."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.jobs import each, remove
from queuectl.cli.render import note, print_json, table
from queuectl.errors import InvalidInput
from queuectl.view.status import JobStatus
from queuectl.view.text import ago, command_of, printable

app = shared.group("The dead letter queue: jobs that were given up on.")


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List the dead jobs, and why each is dead.

    \b
    Examples:
      queuectl dlq list
      queuectl dlq list --json | jq -r '.[] | [.id, .problem // .history[-1].error] | @tsv'
    """
    found = shared.open_queue(context, spool).list("dead")
    if as_json:
        print_json([status.to_json() for status in found])
    elif found:
        table(("ID", "DIED", "ATTEMPTS", "COMMAND", "REASON"), map(_row, found), flexible=(0, 3, 4))
    else:
        note("no dead jobs")


def _row(status: JobStatus) -> tuple[str, ...]:
    job = status.job
    if job is None:
        return status.id, "-", "-", "-", status.problem or "-"
    last = job.last_attempt
    died = last.finished_at if last else job.updated_at
    reason = status.problem or ((last.error or last.outcome) if last else "-")
    return status.id, f"{ago(died)} ago", str(job.attempts), command_of(job), reason


@app.command()
def retry(
    context: typer.Context,
    job_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...", autocompletion=shared.complete_job, help="Dead jobs to run again."
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every dead job that is a valid one.")
    ] = False,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Run dead jobs again: back to pending, with attempts 0 and their history kept.

    A job that waits for its retry is taken too, and then need not wait.

    \b
    Examples:
      queuectl dlq retry job1
      queuectl dlq retry --all
    """
    if bool(job_ids) == all_:
        raise InvalidInput("name the jobs to retry, or say --all")
    queue = shared.open_queue(context, spool)
    if all_:
        dead = queue.list("dead")
        for status in dead:
            if status.problem is not None:
                note(printable(f"{status.id} is left: {status.problem}"))
        job_ids = [status.id for status in dead if status.problem is None]
    each(job_ids or [], queue.retry, as_json, lambda _, job_id: f"{job_id} pending")


@app.command()
def purge(
    context: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Only those that died so long ago: 12h, 7d."),
    ] = "0",
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Remove the dead jobs for good, with their logs.

    \b
    Examples:
      queuectl dlq purge
      queuectl dlq purge --older-than 30d
    """
    remove(shared.open_queue(context, spool), "dead", older_than, as_json)

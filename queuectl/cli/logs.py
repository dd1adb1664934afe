"""`queuectl logs`: the output of a job's attempts."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from queuectl.cli import app
from queuectl.cli.printing import note, print_json, styled
from queuectl.errors import InvalidInput
from queuectl.queue import Queue

AttemptOption = Annotated[
    int | None,
    typer.Option(
        "--attempt", "-a", min=1, metavar="N", help="Number of the attempt [default: the newest]."
    ),
]
FollowOption = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Print output as it is written, until the job has ended."),
]


def logs(
    context: typer.Context,
    job_id: app.JobArgument,
    attempt: AttemptOption = None,
    follow: FollowOption = False,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Print a job's output.

    Without `--attempt`, this is the output of the newest attempt. With `--follow`, queuectl
    waits for a job that has not started, and continues from one attempt to the next.

    \b
    Examples:
      queuectl logs job1
      queuectl logs job1 --attempt 1
      queuectl logs job1 --follow
    """
    if follow and as_json:
        raise InvalidInput("--follow and --json cannot be used together")
    queue = app.open_queue(context, spool)
    if follow:
        _follow(queue, job_id, attempt)
    else:
        _print(queue, job_id, attempt, as_json)


def _follow(queue: Queue, job_id: str, attempt: int | None) -> None:
    job_id = queue.get(job_id).id
    for piece in queue.follow(job_id, attempt or max(queue.newest_attempt(job_id), 1)):
        if not piece.data:
            note(styled(f"==> {job_id} attempt {piece.attempt} <==", "dim", sys.stderr))
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()
    state = queue.get(job_id, exact=True).state
    note(styled(f"==> {job_id} is {state} <==", "dim", sys.stderr))


def _print(queue: Queue, job_id: str, attempt: int | None, as_json: bool) -> None:
    job_id = queue.get(job_id).id
    number = attempt or queue.newest_attempt(job_id)
    path = queue.log_path(job_id, number or None, exact=True)  # raises if there is no attempt
    if not os.path.exists(path):
        name = os.path.basename(path)
        note(f"{name} does not exist: the attempt wrote no log, or the log was removed")
    output = queue.read_log(job_id, number)
    if as_json:
        print_json({"path": path, "output": b"".join(output).decode(errors="replace")})
        return
    for data in output:
        sys.stdout.buffer.write(data)

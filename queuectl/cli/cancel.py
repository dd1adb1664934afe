"""`queuectl cancel`: cancel jobs that are waiting or running."""

from __future__ import annotations

import contextlib
from functools import partial

import typer

from queuectl.cli import app
from queuectl.cli.each import change_each
from queuectl.errors import NoSuchJob
from queuectl.queue import Queue


def cancel(
    context: typer.Context,
    job_ids: app.JobsArgument,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Cancel jobs that are waiting or running.

    A waiting job goes to dead/ at once. A running job is killed by its worker.

    \b
    Examples:
      queuectl cancel job1
      queuectl cancel job1 job2 && queuectl wait job1 job2
    """
    queue = app.open_queue(context, spool)
    change_each(job_ids, queue.cancel, as_json, partial(_outcome, queue))


def _outcome(queue: Queue, job_id: str, state: str) -> str:
    if state == "dead":
        return f"{job_id} cancelled"
    with contextlib.suppress(NoSuchJob):
        if problem := queue.get(job_id).problem:
            return f"{job_id} is to be cancelled: {problem}"
    return f"{job_id} is being killed by its worker"

"""`queuectl cancel`: cancel jobs that are waiting or running."""

from __future__ import annotations

import typer

from queuectl.cli import app
from queuectl.cli.each import change_each


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
    change_each(job_ids, app.open_queue(context, spool).cancel, as_json, _outcome)


def _outcome(job_id: str, state: str) -> str:
    return f"{job_id} cancelled" if state == "dead" else f"{job_id} is being killed by its worker"

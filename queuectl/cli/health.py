"""`queuectl health`: is the queue healthy? For cron, systemd, Docker and Kubernetes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.printing import note, print_json
from queuectl.view import health as checking

MaxAgeOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Longest time that a job may have been due: 90s, 10m [default: no limit].",
    ),
]
MaxDeadOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Largest number of dead jobs [default: no limit]."),
]
MinFreeOption = Annotated[
    str,
    typer.Option(
        metavar="SIZE|%",
        help="Disk space that must be free: 500M, 2G, 5%. A percentage applies to inodes too.",
    ),
]


def health(
    context: typer.Context,
    max_age: MaxAgeOption = None,
    max_dead: MaxDeadOption = None,
    min_free: MinFreeOption = "1%",
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Check whether the queue is healthy; if not, print why.

    Unhealthy means: jobs are due and no worker is running; a job has been due for longer than
    --max-age; more than --max-dead jobs are dead; less than --min-free of the disk is free, in
    bytes or inodes; the spool is damaged; locks do not work on its file system; or the settings
    are not valid. Exit status: 0 if healthy, 1 if not.

    \b
    Examples:
      queuectl health
      queuectl health --max-age 10m --max-dead 0 --min-free 5%
      queuectl health --json | jq -r '.reasons[].check'
    """
    limits = checking.limits(max_age, max_dead, min_free)
    seen, reasons = checking.check_health(shared.spool_path(context, spool), limits)
    if as_json:
        print_json(checking.document(seen, reasons))
    else:
        render.reasons(reasons)
    if reasons:
        raise typer.Exit(1)
    if sys.stderr.isatty():  # otherwise silent: cron mails all output
        note("healthy")

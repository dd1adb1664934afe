"""`queuectl health`: is the queue well? For cron, systemd, Docker and Kubernetes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.render import note, print_json, styled
from queuectl.queue import default_path
from queuectl.view import health as checking
from queuectl.view.text import printable


def health(
    context: typer.Context,
    max_age: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="The longest that a job may have been due: 90s, 10m [any]."
        ),
    ] = None,
    max_dead: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The most dead jobs [any number].")
    ] = None,
    min_free: Annotated[
        str,
        typer.Option(
            metavar="SIZE|%",
            help="What must be free on the disk: 500M, 2G, 5%. A part goes for inodes too.",
            show_default=True,
        ),
    ] = "1%",
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """See whether the queue is well, and if not, why.

    Not well is: jobs are due and no worker lives; the oldest is due for too long; too many are
    dead; the disk is nearly full, in bytes or inodes; the spool is damaged; locks do not work
    on its file system; the settings are broken. Exit status: 0 if it is well, 1 if not.

    \b
    Examples:
      queuectl health
      queuectl health --max-age 10m --max-dead 0 --min-free 5%
      queuectl health --json | jq -r '.reasons[].check'
    """
    limits = checking.limits(max_age, max_dead, min_free)
    root = spool or context.find_root().params.get("spool") or default_path()
    seen, reasons = checking.check_health(root, limits)
    if as_json:
        print_json(checking.document(seen, reasons))
    for found in () if as_json else reasons:
        print(f"{styled(found.check, 'bold')}: {printable(found.reason)}")
    if reasons:
        raise typer.Exit(1)
    if sys.stderr.isatty():  # else nothing: cron sends what is said
        note("healthy")

"""`queuectl check`: find damage in the spool, and repair it."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render

RepairOption = Annotated[
    bool, typer.Option("--repair", help="Repair what can be repaired without losing data.")
]


def check(
    context: typer.Context,
    repair: RepairOption = False,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Check the spool for damage; with --repair, fix it.

    Finds jobs in two states, unreadable records, leftovers of dead workers, stray files and
    wrong file modes. Workers can run at the same time. Exit status: 0 if there is no damage or
    all of it was repaired, 1 if not.

    \b
    Examples:
      queuectl check
      queuectl check --repair
    """
    findings = shared.open_queue(context, spool).check(repair=repair)
    render.show(findings, as_json, render.findings)
    if any(not finding.repaired for finding in findings):
        raise typer.Exit(1)

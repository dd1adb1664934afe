"""`queuectl check`: is the spool whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.render import note, print_json, styled
from queuectl.spool import integrity as checking
from queuectl.view.text import printable


def check(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without losing a byte.")
    ] = False,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Look for damage in the spool, and mend it.

    Jobs in two states, unreadable records, leftovers of the dead, strays, modes. Workers may
    run meanwhile. Exit status: 0 if all is well (or mended), 1 if not.

    \b
    Examples:
      queuectl check
      queuectl check --repair
    """
    queue = shared.open_queue(context, spool)
    findings = checking.check(queue.spool, repair=repair)
    left = [finding for finding in findings if not finding.repaired]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{styled(finding.damage, 'bold')}: {printable(finding.path)}")
            print(f"  {printable(finding.problem)}")
            print(f"  {printable(_fate(finding))}")
        mendable = sum(finding.remedy is not None for finding in left)
        if not findings:
            note("the spool is whole")
        elif not left:
            note(f"{len(findings)} found, all mended")
        elif mendable and not repair:
            note(f"{len(left)} found; `queuectl check --repair` mends {mendable} of them")
        else:
            note(f"{len(left)} left for you to decide")
    if left:
        raise typer.Exit(1)


def _fate(finding: checking.Finding) -> str:
    if finding.failure:
        return f"could not be mended: {finding.failure}"
    if finding.repaired:
        return f"mended: {finding.remedy}"
    return f"remedy: {finding.remedy}" if finding.remedy else "left as it is: yours to decide"

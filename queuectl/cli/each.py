"""What commands that change several jobs share: each job by itself, and a line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from queuectl.cli.printing import note, print_json
from queuectl.errors import QueuectlError
from queuectl.view.text import printable


def change_each(
    job_ids: Iterable[str],
    change: Callable[[str], str],
    as_json: bool,
    outcome: Callable[[str, str], str],
) -> None:
    """Change several jobs, one after the other, and print the outcome of each.

    `outcome` makes the line for a job from its id and the value that `change` returned. A job that
    cannot be changed does not stop the others; the exit code is then 1.
    """
    results: list[dict[str, str]] = []
    for job_id in job_ids:
        try:
            result = change(job_id)
            results.append({"id": job_id, "result": result})
            if not as_json:
                print(printable(outcome(job_id, result)))
        except QueuectlError as error:
            results.append({"id": job_id, "error": str(error)})
            note(f"queuectl: error: {printable(str(error))}")
    if as_json:
        print_json(results)
    if any("error" in result for result in results):
        raise typer.Exit(1)

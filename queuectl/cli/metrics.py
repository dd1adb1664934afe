"""`queuectl metrics`: metrics of the queue for Prometheus."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.printing import print_json
from queuectl.errors import InvalidInput, QueuectlError

MISSING = (
    "metrics need packages that are not installed: in a clone of queuectl, run "
    "`pip install '.[metrics]'`"
)

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="File to write; it is replaced in one step."
    ),
]


def metrics(
    context: typer.Context,
    output: OutputOption = None,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Print the queue's metrics in the Prometheus text format.

    These are the jobs in each state, the age of the oldest job, workers, slots and disk space.
    `--output` is for the textfile collector of node_exporter. Only a worker can count attempts
    and their durations: `queuectl worker start --metrics-port PORT` serves them, with all of
    these metrics.

    \b
    Examples:
      queuectl metrics
      queuectl metrics --output /var/lib/prometheus/node-exporter/queuectl.prom
      queuectl metrics --json | jq '.[] | select(.name == "queuectl_jobs").samples'
    """
    found = load()
    root = shared.spool_path(context, spool)
    if output is not None and as_json:
        raise InvalidInput("--output writes the Prometheus format, not JSON: leave out --json")
    if as_json:
        print_json(found.document(root))
    elif output is None:
        sys.stdout.write(found.render(root).decode())
    else:
        found.write(root, output)


def load() -> ModuleType:
    """Import `view.metrics`. Raises QueuectlError if the packages it needs are not installed."""
    try:
        from queuectl.view import metrics
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "prometheus_client":
            raise QueuectlError(MISSING) from None
        raise
    return metrics

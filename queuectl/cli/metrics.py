"""`queuectl metrics`: the queue in numbers, for Prometheus."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.render import print_json
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import default_path

MISSING = "metrics need their extra: pip install 'queuectl-spool[metrics]'"


def metrics(
    context: typer.Context,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to a file, whole or not at all."
        ),
    ] = None,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Print the queue's numbers in the text format of Prometheus.

    Jobs by state, the age of the oldest, workers, slots, disk. `--output` is for the textfile
    collector of node_exporter. What happens (attempts, durations) only a worker can count:
    `queuectl worker start --metrics-port PORT` serves that, and these numbers too.

    \b
    Examples:
      queuectl metrics
      queuectl metrics --output /var/lib/prometheus/node-exporter/queuectl.prom
      queuectl metrics --json | jq '.[] | select(.name == "queuectl_jobs").samples'
    """
    found = load()
    root = spool or context.find_root().params.get("spool") or default_path()
    if output is not None and as_json:
        raise InvalidInput("--output is for Prometheus, which reads no JSON: leave out --json")
    if as_json:
        print_json(found.document(root))
    elif output is None:
        sys.stdout.write(found.render(root).decode())
    else:
        found.write(root, output)


def load() -> ModuleType:
    """Import `queuectl.metrics`. Raises QueuectlError if its extra is not installed."""
    try:
        from queuectl.view import metrics
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "prometheus_client":
            raise QueuectlError(MISSING) from None
        raise
    return metrics

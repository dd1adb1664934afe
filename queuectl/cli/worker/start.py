"""`queuectl worker start`: a worker in the foreground, or in the background with a log."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable

import typer

from queuectl.cli.metrics import load as load_metrics
from queuectl.cli.printing import note
from queuectl.cli.worker.init import part_from_first_process
from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.view.text import printable
from queuectl.worker.log_file import WorkerLog
from queuectl.worker.tally import Tally

_READY = "ready "

Report = Callable[[str], None]
"""Sends text to the command that started a worker in the background."""


def run_worker(
    queue: Queue,
    slots: int,
    *,
    drain: bool,
    quiet: bool,
    detach: bool,
    metrics_port: str | None,
    allow_shared: bool,
) -> Tally:
    """Run a worker until it is stopped; return what it did.

    With `detach` only the process in the background returns; PID 1 does not return either, and
    raises typer.Exit when the worker, its child, has ended. Raises QueuectlError, OSError.
    """
    serve_metrics = _metrics_at(metrics_port)
    if not detach and (code := part_from_first_process()) is not None:
        raise typer.Exit(code)
    report = _in_background() if detach else None
    try:
        observer, address = serve_metrics(queue.path)
        worker = queue.make_worker(slots, drain=drain, observer=observer, allow_shared=allow_shared)
        _log_to(queue.make_worker_log(worker.name) if report else None, quiet)
        if address:
            logging.info("metrics at %s", address)
        tally = worker.run(ready=lambda name: _started(name, slots, report))
    except (QueuectlError, OSError) as error:
        if report is None:
            raise
        logging.critical("%s", error)
        report(str(error))
        raise typer.Exit(1) from None
    if not report and not quiet:
        note(_summary(tally))
    return tally


def _metrics_at(listen: str | None) -> Callable[[str], tuple[Observer, str]]:
    """Return the function that starts to serve the metrics of a spool's worker.

    What is wrong with the option or the installation is raised here. The function is called in
    the background only, because a thread does not survive the fork.
    """
    if listen is None:
        return lambda _: (NO_OBSERVER, "")
    metrics = load_metrics()
    host, port = metrics.parse_listen(listen)
    return lambda root: metrics.serve(root, host, port)


# -- the log ---------------------------------------------------------------------------------


def _log_to(log: WorkerLog | None, quiet: bool) -> None:
    """Log to the log of a worker in the background, or to stderr if there is none."""
    handler = logging.StreamHandler(log) if log else logging.StreamHandler()
    clock = "%H:%M:%S" if sys.stderr.isatty() else "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(_OneSafeLine("%(asctime)s %(message)s", clock))
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler])


class _OneSafeLine(logging.Formatter):
    """Escapes control characters, which may be in the names of jobs and files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _started(name: str, slots: int, report: Report | None) -> None:
    logging.info("worker %s started: %d at a time", name, slots)
    if report is not None:
        report(f"{_READY}{name}")


def _summary(tally: Tally) -> str:
    parts = [f"{tally.ok} completed", f"{tally.dead} dead"]
    parts += [f"{tally.failed} failed attempts"] * bool(tally.failed)
    parts += [f"{tally.cancelled} cancelled"] * bool(tally.cancelled)
    parts += [f"{tally.interrupted} put back"] * bool(tally.interrupted)
    parts += [f"{tally.unsettled} left to recovery"] * bool(tally.unsettled)
    text = f"{'drained' if tally.drained else 'stopped'}; this worker: {', '.join(parts)}"
    return f"{text}; {tally.scheduled} scheduled for later" if tally.scheduled else text


# -- the background --------------------------------------------------------------------------


def _in_background() -> Report:
    """Continue in a background process with a session of its own.

    The calling process waits for a report, which is the worker's name or what went wrong, prints
    it and exits. The background process gets the function that sends the report, once.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with open(reader, encoding="utf-8", errors="surrogateescape") as pipe:
            text = pipe.read()
        if not text.startswith(_READY):
            raise QueuectlError(text or "the worker exited before it was ready")
        print(text.removeprefix(_READY))
        raise typer.Exit(0)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    pipe = open(writer, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - by report

    def report(text: str) -> None:
        if not pipe.closed:  # a later error is in the log
            with contextlib.suppress(OSError), pipe:  # nobody may be reading
                pipe.write(text)

    return report

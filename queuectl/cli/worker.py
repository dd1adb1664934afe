"""`queuectl worker`: start workers, stop them, see what they do."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli.metrics import load as load_metrics
from queuectl.cli.render import note, print_json, table
from queuectl.disk.durable import create, write_all
from queuectl.errors import NoSuchJob, QueuectlError
from queuectl.view.observer import NO_OBSERVER, Observer
from queuectl.view.status import WorkerStatus
from queuectl.view.text import ago, printable
from queuectl.worker.tally import Tally

SECONDS_BETWEEN_LOOKS = 0.1
_READY = "ready "

app = shared.group("The workers, which run the jobs.")


def _complete_worker(context: typer.Context, incomplete: str) -> list[str]:
    with contextlib.suppress(QueuectlError, OSError):
        workers = shared.open_queue(context, context.params.get("spool")).workers()
        return [worker.name for worker in workers if worker.name.startswith(incomplete)]
    return []


@app.command()
def start(
    context: typer.Context,
    count: Annotated[
        int, typer.Option("--count", "-c", min=1, max=1024, metavar="N", help="Jobs at a time.")
    ] = 1,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Go on in the background; print the name.")
    ] = False,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="Leave when nothing is due, waiting for a retry or running."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")] = False,
    metrics_port: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT", help="Serve metrics for Prometheus; on loopback by default."
        ),
    ] = None,
    allow_shared: Annotated[
        bool,
        typer.Option(
            "--allow-shared",
            help="Work on a spool that others may write to: you run their commands as yourself.",
        ),
    ] = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Run jobs, in the foreground, until stopped.

    Ctrl-C or SIGTERM: take no new job, let the running ones end, leave. A second one ends
    them and puts them back. With `--detach` the worker logs to workers/NAME.log in the spool.

    \b
    Examples:
      queuectl worker start
      queuectl worker start --count 4 --detach
      queuectl worker start --drain
      queuectl worker start --metrics-port 9317
    """
    from queuectl.worker.worker import Worker

    queue = shared.open_queue(context, spool, create=True)
    queue.spool.check_private(allow_shared=allow_shared)
    serve = _metrics_at(metrics_port)
    tell = _in_background() if detach else None
    try:
        observer, address = serve(queue.path)
        worker = Worker(queue.spool, count, drain=drain, observer=observer)
        log = queue.spool.layout.worker(worker.info.name, "log")
        if tell:  # made here, so that it has the spool's mode
            os.close(create(log, os.O_WRONLY, queue.spool.disk.file_mode))
        handler = logging.FileHandler(log) if tell else logging.StreamHandler()
        clock = "%H:%M:%S" if sys.stderr.isatty() else "%Y-%m-%dT%H:%M:%S"
        handler.setFormatter(_OneSafeLine("%(asctime)s %(message)s", clock))
        logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler])
        if address:
            logging.info("metrics at %s", address)
        tally = worker.run(ready=lambda name: _started(name, count, tell))
    except (QueuectlError, OSError) as error:
        if tell is None:
            raise
        logging.critical("%s", error)
        tell(str(error))
        raise typer.Exit(1) from None
    if not tell and not quiet:
        note(_summary(tally))
    if tally.unsettled:
        raise typer.Exit(1)


class _OneSafeLine(logging.Formatter):
    """What jobs and files are called may be meant for the terminal: it is spelled out."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _metrics_at(listen: str | None) -> Callable[[str], tuple[Observer, str]]:
    """Return what serves the metrics of a spool's worker; all that may be wrong is told now.

    Only in the background is it called: a thread does not outlive the fork.
    """
    if listen is None:
        return lambda _: (NO_OBSERVER, "")
    metrics = load_metrics()
    host, port = metrics.parse_listen(listen)
    return lambda root: metrics.serve(root, host, port)


def _started(name: str, count: int, tell: Callable[[str], None] | None) -> None:
    logging.info("worker %s started: %d at a time", name, count)
    if tell is not None:
        tell(f"{_READY}{name}")


def _summary(tally: Tally) -> str:
    parts = [f"{tally.ok} completed", f"{tally.dead} dead"]
    parts += [f"{tally.failed} failed attempts"] * bool(tally.failed)
    parts += [f"{tally.cancelled} cancelled"] * bool(tally.cancelled)
    parts += [f"{tally.interrupted} put back"] * bool(tally.interrupted)
    parts += [f"{tally.unsettled} left to recovery"] * bool(tally.unsettled)
    text = f"{'drained' if tally.drained else 'stopped'}; this worker: {', '.join(parts)}"
    return f"{text}; {tally.scheduled} scheduled for later" if tally.scheduled else text


def _in_background() -> Callable[[str], None]:
    """Go on in a process of its own session; the caller's prints what it is told and ends.

    Returns, in the background, the function that tells it: the name once all is well, or
    what is wrong.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with open(reader, encoding="utf-8") as pipe:
            said = pipe.read()
        if not said.startswith(_READY):
            raise QueuectlError(said or "the worker ended before it could start")
        print(said.removeprefix(_READY))
        raise typer.Exit(0)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)

    def tell(words: str) -> None:
        with contextlib.suppress(OSError):  # told already, or nobody listens
            write_all(writer, words.encode())
            os.close(writer)

    return tell


@app.command()
def stop(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", autocompletion=_complete_worker, help="Workers [all]."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="End the running jobs and put them back.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when they have left.")] = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Stop workers when their running jobs have ended.

    All of them, if none is named. A name may be given by any unique prefix. Works from any host
    that shares the spool.

    \b
    Examples:
      queuectl worker stop
      queuectl worker stop --now --wait
    """
    queue = shared.open_queue(context, spool)
    alive = [worker.name for worker in queue.workers() if worker.alive]
    chosen = [_named(name, alive) for name in names] if names else alive
    if not chosen:
        note("no worker is running")
    for name in chosen:
        queue.stop_worker(name, now=now)
        note(f"{name} is leaving" if now else f"{name} leaves when its running jobs have ended")
    while wait and {w.name for w in queue.workers() if w.alive} & set(chosen):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _named(text: str, alive: list[str]) -> str:
    found = [name for name in alive if name == text] or [n for n in alive if n.startswith(text)]
    if len(found) == 1:
        return found[0]
    what = "no worker is called" if not found else f"{len(found)} workers have a name that begins"
    raise NoSuchJob(f"{what} {text!r}: `queuectl worker list` shows them")


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List the workers and what they run.

    \b
    Examples:
      queuectl worker list
      queuectl worker list --json | jq '.[].running'
    """
    workers = shared.open_queue(context, spool).workers()
    if as_json:
        print_json(workers)
    elif workers:
        table(
            ("WORKER", "PID", "UP", "SLOT", "RUNNING", "ATTEMPT", "FOR", "JOB PID"),
            [row for worker in workers for row in _rows(worker)],
            flexible=(0, 4),
        )
    else:
        note("no worker is running: start one with `queuectl worker start`")


def _rows(worker: WorkerStatus) -> Iterator[tuple[str, ...]]:
    up = ago(worker.started_at) if worker.alive else "died"
    about = (worker.name, str(worker.pid), up)
    for busy in worker.running:
        yield (
            *about,
            f"{busy.slot or '-'}/{worker.slots}",
            busy.id,
            str(busy.attempt),
            ago(busy.started_at),
            str(busy.pid or "-"),
        )
        about = ("", "", "")
    if not worker.running:
        yield (*about, f"-/{worker.slots}", "idle" if worker.alive else "-", "-", "-", "-")

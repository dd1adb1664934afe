"""The commands of `queuectl worker`."""

from __future__ import annotations

import contextlib
import sys
import time
from functools import partial
from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.printing import note, print_json
from queuectl.errors import InvalidInput, NoSuchJob, QueuectlError
from queuectl.view.text import command_of

SECONDS_BETWEEN_LOOKS = 0.1

app = shared.group("Start, stop and list workers, which run the jobs.")


def _complete_worker(context: typer.Context, incomplete: str) -> list[str]:
    with contextlib.suppress(QueuectlError, OSError):
        workers = shared.open_queue(context, context.params.get("spool")).workers()
        return [worker.name for worker in workers if worker.name.startswith(incomplete)]
    return []


CountOption = Annotated[
    int,
    typer.Option(
        "--count", "-c", min=1, max=1024, metavar="N", help="Number of jobs to run at a time."
    ),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Run in the background and print the worker's name.")
]
DrainOption = Annotated[
    bool, typer.Option("--drain", help="Exit when no job is due, waiting for a retry or running.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Report only problems.")]
MetricsPortOption = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS:]PORT",
        help="Port for Prometheus metrics; it is on loopback if no address is given.",
    ),
]
AllowSharedOption = Annotated[
    bool,
    typer.Option(
        "--allow-shared",
        help="Accept a spool that other users can write to: their commands then run as you.",
    ),
]


@app.command()
def start(
    context: typer.Context,
    count: CountOption = 1,
    detach: DetachOption = False,
    drain: DrainOption = False,
    quiet: QuietOption = False,
    metrics_port: MetricsPortOption = None,
    allow_shared: AllowSharedOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Run jobs in the foreground until stopped.

    On Ctrl-C or SIGTERM the worker takes no new job, lets the running jobs end and exits. On a
    second signal it kills the running jobs and puts them back into pending/. With `--detach` the
    worker writes its log to workers/NAME.log in the spool; at 8 MiB the log becomes NAME.log.1.

    A worker needs up to 32 + 10 N open files. It raises its soft limit to that, and does not start
    if the hard limit is lower.

    \b
    Examples:
      queuectl worker start
      queuectl worker start --count 4 --detach
      queuectl worker start --drain
      queuectl worker start --metrics-port 9317
    """
    from queuectl.cli.worker.start import run_worker

    tally = run_worker(
        shared.open_queue(context, spool, create=True),
        count,
        drain=drain,
        quiet=quiet,
        detach=detach,
        metrics_port=metrics_port,
        allow_shared=allow_shared,
    )
    if tally.unsettled:
        raise typer.Exit(1)


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...", autocompletion=_complete_worker, help="Workers to stop [default: all]."
    ),
]
NowOption = Annotated[
    bool, typer.Option("--now", help="Kill the running jobs and put them back into pending/.")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Return when the workers have exited.")]


@app.command()
def stop(
    context: typer.Context,
    names: NamesArgument = None,
    now: NowOption = False,
    wait: WaitOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Stop workers when their running jobs have ended.

    Without a name, all workers stop. A name can be shortened to a unique prefix. This works from
    every host that shares the spool.

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
        note(f"{name} is stopping" if now else f"{name} stops when its running jobs have ended")
    while wait and {w.name for w in queue.workers() if w.alive} & set(chosen):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _named(text: str, names: list[str]) -> str:
    found = [name for name in names if name == text] or [n for n in names if n.startswith(text)]
    if len(found) == 1:
        return found[0]
    what = "no worker name begins" if not found else f"{len(found)} worker names begin"
    raise NoSuchJob(f"{what} with {text!r}: `queuectl worker list` shows them")


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List workers and the jobs they run.

    \b
    Examples:
      queuectl worker list
      queuectl worker list --json | jq '.[].running'
    """
    found, running = shared.look(
        context, spool, lambda queue: (queue.workers(), queue.running()), lambda _: ([], [])
    )
    commands = {status.id: command_of(status.job) for status in running}
    render.show(found, as_json, partial(render.workers, commands=commands))


NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=_complete_worker,
        help="Worker that was started with --detach, or a unique prefix of its name "
        "[default: the only one].",
    ),
]
FollowOption = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Print the log as it is written, until the worker exits."),
]
TailOption = Annotated[
    int | None,
    typer.Option("--tail", "-n", min=1, metavar="N", help="Print only the last N lines."),
]


@app.command()
def logs(
    context: typer.Context,
    name: NameArgument = None,
    follow: FollowOption = False,
    tail: TailOption = None,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Print the log of a worker in the background.

    The log of a worker that has exited is kept for 36 hours.

    \b
    Examples:
      queuectl worker logs
      queuectl worker logs vm-5573 --follow --tail 20
    """
    if follow and as_json:
        raise InvalidInput("--follow and --json cannot be used together")
    queue = shared.open_queue(context, spool)
    found = queue.worker_logs()
    if name is None and len(found) != 1:
        raise InvalidInput(
            f"name one of the workers: {', '.join(found)}"
            if found
            else "no worker has a log: only one that was started with --detach has"
        )
    chosen = found[0] if name is None else _named(name, found)
    log = queue.read_worker_log(chosen, tail=tail, follow=follow)
    if as_json:
        print_json({"worker": chosen, "output": b"".join(log).decode(errors="replace")})
        return
    for data in log:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


UserOption = Annotated[
    bool, typer.Option("--user", help="Print a unit for a service of your own user.")
]


@app.command()
def unit(user: UserOption = False) -> None:
    """Print a systemd unit file that runs a worker.

    The unit starts the queuectl that printed it. Without `--user` it is for a system service:
    check the user and the spool in the file before you start it.

    \b
    Examples:
      queuectl worker unit | sudo tee /etc/systemd/system/queuectl-worker.service
      queuectl worker unit --user > ~/.config/systemd/user/queuectl-worker.service
    """
    from queuectl.cli.worker.unit import unit_file

    print(unit_file(user=user), end="")

"""Commands about jobs: status, list, show, logs, cancel, wait, purge."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec
import typer

from queuectl.cli import app
from queuectl.cli.render import note, print_json, styled, table
from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue
from queuectl.record.job import State
from queuectl.view import output
from queuectl.view.status import JobStatus
from queuectl.view.text import ago, between, command_of, printable, until

StateOption = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        autocompletion=app.complete_state,
        help="Only this state: pending, processing, completed, failed or dead.",
    ),
]


def status(
    context: typer.Context, as_json: app.JsonOption = False, spool: app.SpoolOption = None
) -> None:
    """Show how many jobs are in each state, and the workers.

    \b
    Examples:
      queuectl status
      queuectl status --json | jq .jobs.pending
    """
    now = app.open_queue(context, spool).status()
    if as_json:
        print_json(now)
        return
    print(f"spool       {printable(now.spool)}")
    for state, count in now.jobs.items():
        hint = "   queuectl dlq list" if state == "dead" and count else ""
        print(f"{state:<11} {styled(str(count), state if count else 'dim')}{styled(hint, 'dim')}")
    alive = [worker for worker in now.workers if worker.alive]
    slots = sum(worker.slots for worker in alive)
    busy = sum(len(worker.running) for worker in alive)
    print(f"workers     {len(alive)}" + (f"   {busy} of {slots} slots busy" if alive else ""))
    waiting = now.jobs["pending"] + now.jobs["failed"] + now.jobs["processing"]
    if not alive and waiting:
        note("no worker is running: start one with `queuectl worker start`")


def list_(
    context: typer.Context,
    state: StateOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")
    ] = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """List jobs, newest first.

    What is running comes first, then what waits, then what is over.

    \b
    Examples:
      queuectl list
      queuectl list --state failed
      queuectl list --limit 20 --json | jq -r '.[].id'
    """
    found = app.open_queue(context, spool).list(app.state_named(state), limit=limit)
    if as_json:
        print_json([each.to_json() for each in found])
    elif found:
        table(
            ("ID", "STATE", "PRI", "AGE", "TRIES", "TOOK", "NEXT", "COMMAND", "LAST ERROR"),
            map(_row, found),
            flexible=(0, 7, 8),
            droppable=(2, 5, 4),
        )
    else:
        note(f"no {state} jobs" if state else "no jobs: `queuectl enqueue 'echo hello'` makes one")


def _row(status: JobStatus) -> tuple[str, ...]:
    job = status.job
    if job is None:
        return status.id, status.state, *["-"] * 6, status.problem or "-"
    last = job.last_attempt
    took = between(last.started_at, last.finished_at) if last else "-"
    if status.started_at:
        took = ago(status.started_at)
    waits = status.state == "failed" or (status.state == "pending" and job.run_at)
    return (
        status.id,
        status.state,
        str(job.priority or "-"),
        ago(job.created_at),
        str(len(job.history)),
        took,
        until(job.run_at) if waits else "-",
        command_of(job),
        (last.error or "-") if last and last.outcome != "ok" else "-",
    )


def show(
    context: typer.Context,
    job_id: app.JobArgument,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Show one job: its state, its record, its attempts.

    \b
    Examples:
      queuectl show job1
      queuectl show job1 --json | jq .history
    """
    status = app.open_queue(context, spool).get(job_id)
    if as_json:
        print_json(status.to_json())
        return
    for name, value in _facts(status):
        print(f"{printable(name):<12} {styled(printable(value), value)}")
    if status.job is None or not status.job.history:
        return
    print()
    table(
        ("ATTEMPT", "OUTCOME", "EXIT", "STARTED", "TOOK", "WORKER", "ERROR"),
        [
            (
                str(entry.attempt),
                entry.outcome,
                entry.signal or ("-" if entry.exit_code is None else str(entry.exit_code)),
                f"{ago(entry.started_at)} ago" if entry.started_at else "-",
                between(entry.started_at, entry.finished_at),
                entry.worker or "-",
                entry.error or "-",
            )
            for entry in status.job.history
        ],
        flexible=(5, 6),
    )


def _facts(status: JobStatus) -> Iterable[tuple[str, str]]:
    yield "id", status.id
    yield "state", status.state
    yield "file", status.path
    if status.problem:
        yield "problem", status.problem
    if status.worker:
        slot = f", slot {status.slot}" if status.slot else ""
        yield "worker", f"{status.worker}{slot}, pid {status.pid}"
    if status.job is None:
        return
    job = status.job
    yield "command", command_of(job)
    yield "created", f"{job.created_at} ({ago(job.created_at)} ago)"
    if job.run_at and status.state in ("pending", "failed"):
        yield "runs at", f"{job.run_at} (in {until(job.run_at)})"
    told = {"id", "command", "created_at", "updated_at", "run_at", "history"}
    for name, text in job.raw.items():
        if name not in told:
            yield name, msgspec.json.format(bytes(text), indent=0).decode()


def logs(
    context: typer.Context,
    job_id: app.JobArgument,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", "-a", min=1, metavar="N", help="An attempt but the newest."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on as it is written, until the job has ended."),
    ] = False,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Print a job's output.

    It is that of the newest attempt if no other is named. `--follow` waits for a job that has
    not started, and goes on from attempt to attempt.

    \b
    Examples:
      queuectl logs job1
      queuectl logs job1 --attempt 1
      queuectl logs job1 --follow
    """
    queue = app.open_queue(context, spool)
    if follow and as_json:
        raise InvalidInput("--follow and --json exclude each other")
    if follow:
        status = queue.get(job_id)
        newest = len(status.job.history) + (status.state == "processing") if status.job else 0
        for piece in output.follow(queue.spool.reader, status.id, attempt or max(newest, 1)):
            if not piece.data:
                note(styled(f"==> {status.id} attempt {piece.attempt} <==", "dim", sys.stderr))
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
        end = queue.get(status.id)
        note(styled(f"==> {end.id} is {end.state} <==", "dim", sys.stderr))
        return
    path = queue.log_path(job_id, attempt)
    if not os.path.exists(path):
        note(f"{os.path.basename(path)} is not there: that attempt wrote none, or it was removed")
    if as_json:
        text = b"".join(output.read(path)).decode(errors="replace")
        print_json({"path": path, "output": text})
        return
    for data in output.read(path):
        sys.stdout.buffer.write(data)


def cancel(
    context: typer.Context,
    job_ids: app.JobsArgument,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Cancel jobs that wait or run.

    One that waits is dead at once, one that runs is ended by its worker.

    \b
    Examples:
      queuectl cancel job1
      queuectl cancel job1 job2 && queuectl wait job1 job2
    """
    queue = app.open_queue(context, spool)
    each(
        job_ids,
        queue.cancel,
        as_json,
        lambda job_id, state: (
            f"{job_id} cancelled" if state == "dead" else f"{job_id} is being ended by its worker"
        ),
    )


def wait(
    context: typer.Context,
    job_ids: app.JobsArgument,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Give up after so long: 30s, 10m.")
    ] = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Wait until jobs have ended.

    Exit status: 0 if all completed, 1 if any died, 124 on timeout.

    \b
    Examples:
      queuectl wait job1 job2 --timeout 10m
      queuectl wait $(queuectl enqueue 'make test') && echo passed
    """
    queue = app.open_queue(context, spool)
    with typer.progressbar(
        length=len(job_ids), label="waiting", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        ended = queue.wait(
            job_ids,
            timeout=app.duration(timeout),
            progress=lambda count: bar.update(count - bar.pos),
        )
    if as_json:
        print_json(ended)
    else:
        for job_id, state in ended.items():
            print(f"{job_id} {styled(state, state)}")
    if "dead" in ended.values():
        raise typer.Exit(1)


def purge(
    context: typer.Context,
    state: Annotated[
        str,
        typer.Option(
            metavar="STATE",
            autocompletion=app.complete_state,
            help="Which jobs: completed or dead.",
        ),
    ],
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Only those that ended so long ago: 12h, 7d.")
    ],
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Remove old completed or dead jobs for good.

    Their logs go with them.

    \b
    Examples:
      queuectl purge --state completed --older-than 7d
      queuectl purge --state dead --older-than 0
    """
    chosen = app.state_named(state)
    assert chosen is not None
    remove(app.open_queue(context, spool), chosen, older_than, as_json)


def remove(queue: Queue, state: State, older_than: str, as_json: bool) -> None:
    """Remove the jobs of a state, showing on a terminal how many are gone."""
    with typer.progressbar(
        length=queue.status().jobs[state],
        label="removing",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        count = queue.purge(
            state, parse_duration(older_than), progress=lambda n: bar.update(n - bar.pos)
        )
    print_json({"removed": count}) if as_json else print(f"{count} removed")


def each(
    job_ids: Iterable[str],
    change: Callable[[str], str],
    as_json: bool,
    words: Callable[[str, str], str],
) -> None:
    """Change several jobs, each for itself; say of each what came of it. Exit 1 if any failed."""
    results: list[dict[str, str]] = []
    for job_id in job_ids:
        try:
            outcome = change(job_id)
            results.append({"id": job_id, "result": outcome})
            if not as_json:
                print(printable(words(job_id, outcome)))
        except QueuectlError as error:
            results.append({"id": job_id, "error": str(error)})
            note(f"queuectl: error: {printable(str(error))}")
    if as_json:
        print_json(results)
    if any("error" in result for result in results):
        raise typer.Exit(1)

"""`queuectl enqueue`: one job as JSON, shell command or program; or many jobs from stdin."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from queuectl import clock
from queuectl.cli import app, render
from queuectl.cli.printing import note, progress
from queuectl.errors import InvalidInput, NotJson
from queuectl.queue import Queue
from queuectl.record.job import FIELDS, Job, build, decode
from queuectl.record.submission import read_jobs
from queuectl.view.text import printable


class EnqueueCommand(TyperCommand):
    """The parser of `enqueue`: what follows `--` is a program with its arguments."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # a private type
        """Split the line at `--`, which the base class would remove."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["program"] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


JobWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JSON | 'COMMAND' | -- PROGRAM ARG... | -",
        help="Job as JSON, shell command, program with its arguments, or - to read stdin.",
        show_default=False,
    ),
]
IdOption = Annotated[
    str | None, typer.Option(help="Id of the job; an id that is in use is refused.")
]
PriorityOption = Annotated[
    int | None,
    typer.Option("--priority", "-p", help="Priority; jobs with a higher priority run first."),
]
DelayOption = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Time to wait before the job runs: 30s, 10m, 2h."),
]
RunAtOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Earliest time to run the job: RFC 3339, '2026-11-24 08:00' or 08:00."
    ),
]
MaxRetriesOption = Annotated[
    int | None, typer.Option(metavar="N", help="Number of retries after the first attempt.")
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="Time limit for each attempt; one that runs longer is killed."
    ),
]
CwdOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Working directory of the command [default: the current directory; with JSON, the "
        "directory in the JSON].",
    ),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="KEY[=VALUE]",
        help="Environment variable for the command; without a value, the one it has here.",
    ),
]


def enqueue(
    context: typer.Context,
    job: JobWords = None,
    id: IdOption = None,  # noqa: A002 - the field's name
    priority: PriorityOption = None,
    delay: DelayOption = None,
    run_at: RunAtOption = None,
    max_retries: MaxRetriesOption = None,
    timeout: TimeoutOption = None,
    cwd: CwdOption = None,
    env: EnvOption = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Enqueue one or more jobs, and print their ids.

    A job is on disk before its id is printed. Options override the fields of a JSON job. With
    `-`, queuectl reads jobs from stdin: one JSON object per line, or one JSON array. It enqueues
    either all of them or none.

    \b
    Examples:
      queuectl enqueue 'make -C /srv/site all > /tmp/site.log'
      queuectl enqueue --delay 10m --max-retries 5 'curl -fsS https://example.org/ping'
      queuectl enqueue -- convert 'my photo.jpg' -resize 50% small.jpg
      queuectl enqueue '{"id":"job1","command":"echo Hello World","priority":5}'
      jq -c '.jobs[]' jobs.json | queuectl enqueue -
    """
    fields: dict[str, Any] = {
        "id": id,
        "priority": priority,
        "max_retries": max_retries,
        "timeout": app.duration(timeout),
        "cwd": None if cwd is None else app.absolute(cwd),
        "env": _environment(env or []),
        "run_at": _start(delay, run_at),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    words, program = job or [], context.meta.get("program")
    record = _record(words, program, given)
    queue = app.open_queue(context, spool, create=True)
    if queue.is_open_to_all and (env or (record and record.env)):
        root = printable(shlex.quote(queue.path))
        note(f"all users of this machine can read the job's environment: `chmod 700 {root}`")
    if record is None:
        ids = _enqueue_stdin(queue, given)
        render.show({"ids": ids}, as_json, lambda _: sys.stdout.writelines(f"{i}\n" for i in ids))
    else:
        render.show({"id": queue.submit(record)}, as_json, lambda new: print(new["id"]))
    if sys.stderr.isatty() and not any(worker.alive for worker in queue.workers()):
        note(render.NO_WORKER)


enqueue.parser = EnqueueCommand  # type: ignore[attr-defined] # read by LazyGroup


def _start(delay: str | None, run_at: str | None) -> str | None:
    """Return the time of --delay or --run-at as a timestamp."""
    if delay is not None and run_at is not None:
        raise InvalidInput("--delay and --run-at cannot be used together")
    if delay is not None:
        return clock.format_timestamp(clock.now() + clock.parse_duration(delay))
    return None if run_at is None else clock.format_timestamp(clock.parse_moment(run_at))


def _record(words: list[str], program: list[str] | None, given: dict[str, Any]) -> Job | None:
    """Return the job that the command line describes; None for `-`. Raises InvalidInput."""
    if program is not None:
        if words or not program:
            raise InvalidInput("write a program and its arguments after --, and nothing before it")
        return _command(program, given)
    if not words:
        raise InvalidInput("nothing to enqueue: give a command, JSON, or - for stdin")
    if words == ["-"]:
        if "id" in given:
            raise InvalidInput("--id is for one job: with -, give each job its own id")
        return None
    if len(words) > 1:
        raise InvalidInput(
            "more than one argument: put quotes around a shell command, "
            "or write -- before a program and its arguments"
        )
    if not words[0].lstrip().startswith("{"):
        return _command(words[0], given)
    try:
        record = _with(decode(words[0].encode(errors="surrogateescape")), given)
    except NotJson as error:
        raise InvalidInput(
            f"{error}; an argument that begins with {{ is read as JSON: "
            "to run it as a shell command, write -- sh -c '{ ...; }'"
        ) from None
    _warn_of_typos(record)
    return record


def _command(command: str | list[str], given: dict[str, Any]) -> Job:
    """Return the job of a command that is typed; it runs where the caller is."""
    if "cwd" not in given:
        try:
            given = {**given, "cwd": os.getcwd()}
        except FileNotFoundError:
            raise InvalidInput(
                "the current directory has been removed: say with --cwd where the job is to run"
            ) from None
    return build({"command": command, **given})


def _warn_of_typos(job: Job) -> None:
    """Print a note for each unknown field whose name is close to a field of the job file."""
    from difflib import get_close_matches

    for key in job.raw:
        if key not in FIELDS and (near := get_close_matches(key, FIELDS, n=1, cutoff=0.8)):
            hint = f"unknown field {key!r} is kept but has no effect: did you mean {near[0]!r}?"
            note(printable(hint))


def _with(job: Job, given: dict[str, Any]) -> Job:
    """Return the job with the options in place of its fields."""
    if not given:
        return job
    if "env" in given:
        given = {**given, "env": {**(job.env or {}), **given["env"]}}
    return decode(job.evolve(**given).encode())


def _environment(pairs: list[str]) -> dict[str, str] | None:
    found = {}
    for pair in pairs:
        key, given, value = pair.partition("=")
        if not given and key not in os.environ:
            raise InvalidInput(
                f"--env {pair}: no variable {pair!r} is set here; write {pair}=VALUE to set one"
            )
        found[key] = value if given else os.environ[key]
    return found or None


def _enqueue_stdin(queue: Queue, given: dict[str, Any]) -> list[str]:
    stream = sys.stdin.buffer
    if stream.isatty():
        note("reading jobs from the terminal, one JSON object per line; press Ctrl-D to end")
    about = os.fstat(stream.fileno())
    size = about.st_size if stat.S_ISREG(about.st_mode) else None
    with progress("enqueueing", size, hidden=stream.isatty()) as bar:
        jobs = read_jobs(stream, advance=bar.update)
        return queue.submit_many(_with(job, given) for job in jobs)

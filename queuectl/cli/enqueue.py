"""`queuectl enqueue`: one job as JSON, shell command or program; or many jobs from stdin."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from queuectl import clock
from queuectl.cli import app, render
from queuectl.cli.printing import note, progress
from queuectl.errors import InvalidInput, InvalidJob, NotJson
from queuectl.queue import Queue
from queuectl.record.job import FIELDS, Job, build, decode
from queuectl.record.submission import is_json_array, near_miss, read_commands, read_jobs
from queuectl.record.wording import shown
from queuectl.view.text import printable


class EnqueueCommand(TyperCommand):
    """The parser of `enqueue`: what follows `--` is a program with its arguments."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # a private type
        """Split the line at `--`, which the base class would remove."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["program"] = args[:at], args[at + 1 :]
        try:
            return super().parse_args(ctx, [*args])
        except typer.TyperException as error:
            words = _program_in(args)
            if len(words) < 2 or not words[1].startswith("-"):
                raise
            problem = error.format_message().rstrip(".")
            raise InvalidInput(f"{problem}. {_dashes(words)}") from None


def _program_in(args: list[str]) -> list[str]:
    """Return the words from the first that is not an option: `ls -la` may be meant as a program."""
    plain = (n for n, word in enumerate(args) if not word.startswith("-"))
    return args[next(plain, len(args)) :]


def _dashes(words: list[str]) -> str:
    return f"To run a program with arguments, write -- before it: enqueue -- {shlex.join(words)}"


JobWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JSON | 'COMMAND' | -- PROGRAM ARG... | -",
        help="Jobs as JSON, shell command, program with its arguments, or - to read stdin.",
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


StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse JSON jobs with fields that queuectl does not know.")
]
LinesOption = Annotated[
    bool, typer.Option("--lines", help="Read stdin, which has one shell command per line.")
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
    lines: LinesOption = False,
    strict: StrictOption = False,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Enqueue one or more jobs, and print their ids.

    A job is on disk before its id is printed. Options override the fields of a JSON job. With
    `-`, queuectl reads jobs from stdin: one JSON object per line, or one JSON array. With
    `--lines` it reads one shell command per line. It enqueues either all of the jobs or none.

    \b
    Examples:
      queuectl enqueue 'make -C /srv/site all > /tmp/site.log'
      queuectl enqueue --delay 10m --max-retries 5 'curl -fsS https://example.org/ping'
      queuectl enqueue -- convert 'my photo.jpg' -resize 50% small.jpg
      queuectl enqueue '{"id":"job1","command":"echo Hello World","priority":5}'
      jq -c '.jobs[]' jobs.json | queuectl enqueue -
      printf 'gzip %s\n' *.log | queuectl enqueue --lines
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
    source = _source(job or [], context.meta.get("program"), given, lines)
    queue = app.open_queue(context, spool, create=True)
    unknown = _UnknownFields(strict)
    if isinstance(source, Job):
        unknown.look(source)
        secret, ids = source.env is not None, [queue.submit(source)]
        render.show({"id": ids[0]}, as_json, lambda new: print(new["id"]))
    else:
        ids, secret = _enqueue_many(queue, source, given, unknown)
        render.show({"ids": ids}, as_json, lambda _: sys.stdout.writelines(f"{i}\n" for i in ids))
    unknown.report()
    if secret and queue.is_open_to_all:
        root = printable(shlex.quote(queue.path))
        note(f"all users of this machine can read the job's environment: `chmod 700 {root}`")
    if sys.stderr.isatty() and queue.has_no_worker_for(len(ids)):
        note(render.NO_WORKER)


enqueue.parser = EnqueueCommand  # type: ignore[attr-defined] # read by LazyGroup


def _start(delay: str | None, run_at: str | None) -> str | None:
    """Return the time of --delay or --run-at as a timestamp."""
    if delay is not None and run_at is not None:
        raise InvalidInput("--delay and --run-at cannot be used together")
    if delay is not None:
        return clock.format_timestamp(clock.now() + clock.parse_duration(delay))
    return None if run_at is None else clock.format_timestamp(clock.parse_moment(run_at))


_Lines = Iterable[bytes]
_ReadJobs = Callable[..., Iterator[Job]]


def _source(
    words: list[str], program: list[str] | None, given: dict[str, Any], lines: bool
) -> Job | tuple[_ReadJobs, _Lines]:
    """Return the job that is described, or a function with the lines that it reads jobs from.

    Raises InvalidInput.
    """
    if program is not None:
        if words or lines or not program:
            raise InvalidInput("write a program and its arguments after --, and nothing before it")
        return _command(program, given)
    many = words == ["-"] or lines or (len(words) == 1 and is_json_array(words[0]))
    if many and "id" in given:
        raise InvalidInput("--id is for one job: give each of several jobs its own id")
    if lines:
        if words not in ([], ["-"]):
            raise InvalidInput("--lines reads commands from stdin: give no other command")
        return partial(read_commands, make=lambda text: _command(text, given)), sys.stdin.buffer
    if many:
        typed = [] if words == ["-"] else [words[0].encode(errors="surrogateescape")]
        return read_jobs, typed or sys.stdin.buffer
    if not words:
        raise InvalidInput("nothing to enqueue: give a command, JSON, or - for stdin")
    if len(words) > 1:
        raise InvalidInput(
            f"more than one argument: put quotes around a shell command. {_dashes(words)}"
        )
    if not words[0].lstrip().startswith("{"):
        return _command(words[0], given)
    try:
        return _with(Job.from_json(words[0]), given)
    except NotJson as error:
        raise InvalidInput(
            f"{error}; an argument that begins with {{ is read as JSON: "
            "to run it as a shell command, write -- sh -c '{ ...; }'"
        ) from None


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


class _UnknownFields:
    """The fields of JSON jobs that look like mistakes; with `strict`, every unknown one is."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._hints: dict[str, str] = {}

    def look(self, job: Job) -> None:
        """Look at a job's fields. Raises InvalidJob if `strict`."""
        for key in job.raw:
            if key in FIELDS or (key in self._hints and not self._strict):
                continue
            near = near_miss(key)
            hint = f"did you mean {near!r}?" if near else f"choose from {', '.join(FIELDS)}"
            if self._strict:
                raise InvalidJob(f"unknown field {shown(key)}; {hint}", field=key)
            if near:
                self._hints[key] = hint

    def report(self) -> None:
        """Print a note for each field that looks like a mistake."""
        for key, hint in self._hints.items():
            note(printable(f"unknown field {shown(key)} is kept but has no effect: {hint}"))


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


def _enqueue_many(
    queue: Queue, source: tuple[_ReadJobs, _Lines], given: dict[str, Any], unknown: _UnknownFields
) -> tuple[list[str], bool]:
    """Enqueue the jobs of a source; return their ids, and whether one of them has an `env`."""
    read, lines = source
    secret = False
    typed = sys.stdin.buffer is not lines
    hidden = typed or sys.stdin.isatty()
    if hidden and not typed:
        note("reading jobs from the terminal, one per line; press Ctrl-D to end")
    about = None if typed else os.fstat(sys.stdin.fileno())
    size = about.st_size if about and stat.S_ISREG(about.st_mode) else None
    with progress("enqueueing", size, hidden=hidden) as bar:

        def jobs() -> Iterator[Job]:
            nonlocal secret
            for job in read(lines, advance=bar.update):
                unknown.look(job)
                ready = _with(job, given)
                secret = secret or ready.env is not None
                yield ready

        return queue.submit_many(jobs()), secret

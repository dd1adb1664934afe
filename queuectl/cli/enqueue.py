"""`queuectl enqueue`: one job as JSON, shell command or program; many from stdin."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from typer.core import TyperCommand

from queuectl import clock
from queuectl.cli import app
from queuectl.cli.render import note, print_json
from queuectl.errors import InvalidInput, InvalidJob, NotJson
from queuectl.queue import Queue
from queuectl.record.job import FIELDS, Job, build, decode
from queuectl.view.text import printable


class EnqueueCommand(TyperCommand):
    """Takes all that follows `--` as a program and its arguments, whatever it looks like."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # a private type
        """Split the line at `--`, which the parser would drop without a trace."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["program"] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


def enqueue(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JSON | 'COMMAND' | -- PROGRAM ARG... | -",
            help="A job as JSON, a shell command, a program with its arguments, or - for stdin.",
            show_default=False,
        ),
    ] = None,
    id: Annotated[  # noqa: A002 - the field's name
        str | None, typer.Option(help="The job's id; one that is taken is refused.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher runs first.")] = None,
    delay: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Run after so long: 30s, 10m, 2h.")
    ] = None,
    run_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Run at this time: RFC 3339, '2026-11-24 08:00', 08:00."),
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(metavar="N", help="Retries after the first attempt.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="End an attempt after so long.")
    ] = None,
    cwd: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where it runs [default: here; with JSON, as the JSON says]."
        ),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Add to its environment.")
    ] = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Enqueue a job, or many, and print the id.

    The job is on disk when its id is printed. Options win over what the JSON says. With `-`,
    stdin has one JSON object a line, or one JSON array; either all of it is enqueued or
    nothing.

    \b
    Examples:
      queuectl enqueue 'make -C /srv/site all > /tmp/site.log'
      queuectl enqueue --delay 10m --max-retries 5 'curl -fsS https://example.org/ping'
      queuectl enqueue -- convert 'my photo.jpg' -resize 50% small.jpg
      queuectl enqueue '{"id":"job1","command":"echo Hello World","priority":5}'
      jq -c '.jobs[]' jobs.json | queuectl enqueue -
    """
    if delay is not None and run_at is not None:
        raise InvalidInput("--delay and --run-at exclude each other")
    given: dict[str, Any] = {
        "id": id,
        "priority": priority,
        "max_retries": max_retries,
        "timeout": app.duration(timeout),
        "cwd": None if cwd is None else os.path.abspath(cwd),
        "env": _environment(env or []),
    }
    if delay is not None:
        run_at = clock.format_timestamp(clock.now() + clock.parse_duration(delay))
    elif run_at is not None:
        run_at = clock.format_timestamp(clock.parse_moment(run_at))
    given["run_at"] = run_at
    given = {name: value for name, value in given.items() if value is not None}

    words, program = job or [], context.meta.get("program")
    if words == ["-"] and program is None:
        if "id" in given:
            raise InvalidInput("--id is for one job: give each line its own id")
        queue = app.open_queue(context, spool, create=True)
        ids = _enqueue_stdin(queue, given)
        print_json({"ids": ids}) if as_json else sys.stdout.writelines(f"{i}\n" for i in ids)
    else:
        record = _record(words, program, given)
        _hint(record)
        queue = app.open_queue(context, spool, create=True)
        new = queue.submit(record)
        print_json({"id": new}) if as_json else print(new)
    if sys.stderr.isatty() and not any(worker.alive for worker in queue.workers()):
        note("no worker is running: start one with `queuectl worker start`")


enqueue.parser = EnqueueCommand  # type: ignore[attr-defined] # read by LazyGroup


def _record(words: list[str], program: list[str] | None, given: dict[str, Any]) -> Job:
    """Make the record of the one job that the command line describes. Raises InvalidInput."""
    if program is not None:
        if words or not program:
            raise InvalidInput("after -- goes a program with its arguments, and nothing before it")
        return build({"command": program, "cwd": os.getcwd(), **given})
    if not words:
        raise InvalidInput("what is to be enqueued? (see: queuectl enqueue --help)")
    if len(words) > 1:
        raise InvalidInput(
            "that is more than one word: put a shell command into quotes, "
            "or write -- before a program with its arguments"
        )
    if not words[0].lstrip().startswith("{"):
        return build({"command": words[0], "cwd": os.getcwd(), **given})
    try:
        return _with(decode(words[0].encode(errors="surrogateescape")), given)
    except NotJson as error:
        raise InvalidInput(
            f"{error}; what begins with {{ is taken as JSON: "
            "to run it as a shell command, write -- sh -c '{ ...; }'"
        ) from None


def _hint(job: Job) -> None:
    """Tell of a field that is kept, but looks like one of ours with a slip in it."""
    from difflib import get_close_matches

    for key in job.raw:
        if key not in FIELDS and (near := get_close_matches(key, FIELDS, n=1, cutoff=0.8)):
            note(printable(f"{key!r} is kept, and means nothing here: did you mean {near[0]!r}?"))


def _with(job: Job, given: dict[str, Any]) -> Job:
    """Let the options win over what the JSON says."""
    if not given:
        return job
    if "env" in given:
        given = {**given, "env": {**(job.env or {}), **given["env"]}}
    return decode(job.evolve(**given).encode())


def _environment(pairs: list[str]) -> dict[str, str] | None:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidInput(f"--env takes KEY=VALUE, not {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs) if pairs else None


def _enqueue_stdin(queue: Queue, given: dict[str, Any]) -> list[str]:
    stream = sys.stdin.buffer
    if stream.isatty():
        note("reading jobs from the terminal, one JSON object a line; end with Ctrl-D")
    with _progress(stream) as advance:
        return queue.submit_many(_with(job, given) for job in _jobs(stream, advance))


def _jobs(stream: BinaryIO, advance: Any) -> Iterator[Job]:
    """Read jobs from a stream; InvalidJob says in which line, or which of the array's items."""
    lines = enumerate(stream, 1)
    number, first = next(((n, line) for n, line in lines if line.strip()), (0, b""))
    advance(len(first))
    if first.lstrip().startswith(b"["):
        yield from _numbered("item", enumerate(_array(first + stream.read()), 1))
        return
    try:
        decode(first)
    except NotJson:
        # Not a line's worth: perhaps one object over many lines, as our own files are.
        rest = stream.read()
        with contextlib.suppress(NotJson):
            yield decode(first + rest)
            return
        lines = enumerate(rest.splitlines(keepends=True), number + 1)
    except InvalidJob:
        pass  # told below, with its line
    for n, line in chain([(number, first)], lines):
        if line.strip():
            yield from _numbered("line", [(n, line)])
            advance(len(line))


def _numbered(what: str, pieces: Iterable[tuple[int, bytes]]) -> Iterator[Job]:
    for number, piece in pieces:
        try:
            yield decode(piece)
        except InvalidJob as error:
            raise InvalidJob(f"{what} {number}: {error}; nothing is enqueued") from None


def _array(data: bytes) -> list[bytes]:
    try:
        return [bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJob(f"not a JSON array: {error}; nothing is enqueued") from None


@contextlib.contextmanager
def _progress(stream: BinaryIO) -> Iterator[Any]:
    """Show on a terminal how much of stdin has been read; of a file, how much there is to go."""
    about = os.fstat(stream.fileno())
    length = about.st_size if stat.S_ISREG(about.st_mode) else None
    hidden = stream.isatty() or not sys.stderr.isatty()
    endless: Any = None if length is not None else iter(int, 1)  # of no length that is known
    bar: Any = typer.progressbar(
        endless, length, label="enqueueing", show_pos=length is None, file=sys.stderr, hidden=hidden
    )
    with bar:
        yield bar.update

"""The root of the command line, and the options that commands share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Annotated, Any, TypeVar

import typer
import typer.main

from queuectl.cli.printing import note
from queuectl.cli.words import Group
from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue, default_path, is_spool
from queuectl.record.job import STATES
from queuectl.version import __version__
from queuectl.view.text import printable

T = TypeVar("T")

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def complete_job(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete the id of a job."""
    try:
        for status in open_queue(context, context.params.get("spool")).list():
            if status.id.startswith(incomplete):
                yield status.id
    except (QueuectlError, OSError):
        return


SpoolOption = Annotated[
    str | None,
    typer.Option(
        "--spool",
        metavar="DIR",
        help="Spool directory [default: $QUEUECTL_SPOOL, or ~/.local/state/queuectl].",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", autocompletion=complete_job, help="Job id, or a unique prefix of one."
    ),
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", autocompletion=complete_job, help="Job ids, or unique prefixes of them."
    ),
]


COMMANDS = {
    "enqueue": "enqueue:enqueue",
    "worker": "worker.commands:app",
    "status": "status:status",
    "list": "list:list_",
    "show": "show:show",
    "logs": "logs:logs",
    "cancel": "cancel:cancel",
    "wait": "wait:wait",
    "remove": "remove:remove",
    "dlq": "dlq:app",
    "config": "config:app",
    "purge": "purge:purge",
    "init": "init:init",
    "check": "check:check",
    "health": "health:health",
    "metrics": "metrics:metrics",
    "top": "top.command:top",
    "web": "web:web",
}
"""Where each command, or group of commands, is defined: module:name."""
UNLISTED = {"retry": "dlq:retry"}
"""Commands of groups that people try without the group's name."""


class EndedBy(Exception):
    """A signal ends the command: after all is cleaned up, the process must die by it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class LazyGroup(Group):
    """A group that imports a command, and makes its parser, only when the command is used.

    Making all of them would cost 20 ms at every start, a third of what importing typer costs.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # for "did you mean"

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override] # a private type
        """Run the command. The base class would make plain exit codes of these two."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `queuectl list | head`: nobody reads the rest
            raise EndedBy(signal.SIGPIPE) from None
        except KeyboardInterrupt:
            raise EndedBy(signal.SIGINT) from None

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # noqa: ARG002 - a private type, the base's parameter
        """Return the names of the commands, in the order of the help."""
        return list(COMMANDS)

    def own_command(self, ctx: typer.Context, name: str) -> Any:  # noqa: ARG002 - the base's parameter
        """Return the command of exactly this name, or None."""
        if name not in COMMANDS and name not in UNLISTED:
            return None
        module, function = (UNLISTED.get(name) or COMMANDS[name]).split(":")
        found = getattr(import_module(f"queuectl.cli.{module}"), function)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
            alone.command(name, cls=getattr(found, "parser", None))(found)
            found = alone
        return typer.main.get_command(found)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help, and no import of rich
    pretty_exceptions_enable=False,
    context_settings=HELP,
)


def group(help: str) -> typer.Typer:  # noqa: A002 - typer's word
    """Make a group of commands."""
    return typer.Typer(
        cls=Group,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=HELP,
    )


def _version(value: bool) -> None:
    if value:
        print(f"queuectl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    spool: SpoolOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run background jobs from a queue that is nothing but a directory.

    A job is a JSON file, and its state is the directory it is in: pending/, processing/,
    failed/, done/ or dead/. `ls` and `cat` show everything, and any program can enqueue a job
    by putting a file into pending/.

    \b
    Examples:
      queuectl enqueue 'echo hello'       enqueue a shell command
      queuectl worker start               run jobs until Ctrl-C
      queuectl status                     count jobs and workers
      queuectl logs ID                    print a job's output
    """


def open_queue(context: typer.Context, spool: str | None, *, create: bool = False) -> Queue:
    """Open the queue of `--spool`, given before or after the command. Raises SpoolUnusable."""
    return Queue(spool_path(context, spool), create=create)


def look(
    context: typer.Context,
    spool: str | None,
    read: Callable[[Queue], T],
    nothing: Callable[[str], T],
) -> T:
    """Read from the queue; where there is no spool yet, return what an empty one has.

    `nothing` makes that from the spool's path. Raises QueuectlError, OSError.
    """
    path = spool_path(context, spool)
    if is_spool(path):
        return read(Queue(path, create=False))
    note(printable(f"there is no spool at {path} yet: `queuectl enqueue` makes one"))
    return nothing(path)


def spool_path(context: typer.Context, spool: str | None) -> str:
    """Return the path of `--spool`, given before or after the command, or the default path."""
    return absolute(spool or context.find_root().params.get("spool") or default_path())


def absolute(path: str) -> str:
    """Make a path absolute. Raises InvalidInput where the current directory has been removed."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise InvalidInput(
            f"{path!r} is relative, and the current directory has been removed: "
            "give an absolute path"
        ) from None


def duration(text: str | None) -> float | None:
    """Parse a duration such as 90, 10m, 1h30m or 7d into seconds."""
    return None if text is None else parse_duration(text)


def complete_state() -> list[str]:
    """Complete the name of a state."""
    return list(STATES)

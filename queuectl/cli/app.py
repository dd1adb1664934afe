"""The root of the command line, and what all commands share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue
from queuectl.record.job import STATES, State
from queuectl.version import __version__

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def complete_job(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete a job's id."""
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
        help="The spool directory [default: $QUEUECTL_SPOOL, else ~/.local/state/queuectl].",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", autocompletion=complete_job, help="A job's id, or a unique prefix."
    ),
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", autocompletion=complete_job, help="Job ids, or unique prefixes."
    ),
]


COMMANDS = {
    "enqueue": "enqueue:enqueue",
    "worker": "worker:app",
    "status": "jobs:status",
    "list": "jobs:list_",
    "show": "jobs:show",
    "logs": "jobs:logs",
    "cancel": "jobs:cancel",
    "wait": "jobs:wait",
    "dlq": "dlq:app",
    "config": "config:app",
    "purge": "jobs:purge",
    "check": "check:check",
    "health": "health:health",
    "metrics": "metrics:metrics",
    "top": "top:top",
    "web": "web:web",
}
"""Where each command, or group of commands, is to be found: module:name."""


class LazyGroup(TyperGroup):
    """Imports a command, and makes its parser, only when it is asked for.

    To make all of them costs 20 ms at every start, a third of what importing typer does.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # for "did you mean"

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # noqa: ARG002 - a private type, the base's parameter
        """Name the commands, in the order in which help lists them."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override] # noqa: ARG002 - a private type, the base's parameter
        """Return a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        found = getattr(import_module(f"queuectl.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
            alone.command(cmd_name, cls=getattr(found, "parser", None))(found)
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
    """Make a group of commands about one noun."""
    return typer.Typer(
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
    """A background job queue that is nothing but a directory.

    A job is a JSON file; the directory it stands in is its state: pending/, processing/,
    failed/, done/, dead/. `ls` and `cat` show everything, and any program enqueues by putting
    a file into pending/.

    \b
    Examples:
      queuectl enqueue 'echo hello'       enqueue a shell command
      queuectl worker start               run jobs, until Ctrl-C
      queuectl status                     see what there is
      queuectl logs ID                    read a job's output
    """


def open_queue(context: typer.Context, spool: str | None, *, create: bool = False) -> Queue:
    """Open the queue that `--spool` names, before or after the command. Raises SpoolUnusable."""
    return Queue(spool or context.find_root().params.get("spool"), create=create)


def duration(text: str | None) -> float | None:
    """Read a duration option: seconds, or 10m, 1h30m, 7d."""
    return None if text is None else parse_duration(text)


def state_named(text: str | None) -> State | None:
    """Read a state; the directory's name, done, is understood too. Raises InvalidInput."""
    if text is None:
        return None
    for state in STATES:
        if text == state or (text == "done" and state == "completed"):
            return state
    raise InvalidInput(f"there is no state {text!r}: there are {', '.join(STATES)}")


def complete_state() -> list[str]:
    """Complete a state's name."""
    return list(STATES)

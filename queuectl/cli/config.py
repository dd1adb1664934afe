"""`queuectl config`: the settings in queue.toml."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.printing import note, styled
from queuectl.errors import InvalidSetting
from queuectl.queue import Queue
from queuectl.record.settings import describe

app = shared.group("Show and change the settings in queue.toml.")


def _complete_key() -> list[tuple[str, str]]:
    return [(info.name, info.meaning) for info in describe().values()]


KeyArgument = Annotated[
    str,
    typer.Argument(metavar="KEY", autocompletion=_complete_key, help="Name of the setting."),
]


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List all settings with their values and meanings.

    \b
    Examples:
      queuectl config list
    """
    queue = shared.open_queue(context, spool)
    render.show(queue.setting_values(), as_json, render.settings)
    _warn_of_problem(queue)


@app.command()
def get(
    context: typer.Context,
    key: KeyArgument,
    as_json: shared.JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Print the value of a setting.

    \b
    Examples:
      queuectl config get backoff_base
    """
    value = shared.open_queue(context, spool).setting(key)
    render.show(value, as_json, lambda value: print(render.setting(value)))


@app.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a value
def set_(
    context: typer.Context,
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="New value.")],
    spool: shared.SpoolOption = None,
) -> None:
    """Change a setting.

    Running workers use the new value at once.

    \b
    Examples:
      queuectl config set max_retries 5
      queuectl config set timeout 10m
    """
    queue = shared.open_queue(context, spool, create=True)
    new = queue.set_setting(key, value)
    note(f"{styled(key, 'bold')} is {render.setting(new)}")
    _warn_of_problem(queue)


@app.command()
def unset(context: typer.Context, key: KeyArgument, spool: shared.SpoolOption = None) -> None:
    """Reset a setting to its default.

    \b
    Examples:
      queuectl config unset timeout
    """
    queue = shared.open_queue(context, spool)
    queue.unset_setting(key)
    info = describe().get(key)
    note(f"{key} is {render.setting(info.default)}, the default" if info else f"removed {key}")
    _warn_of_problem(queue)


def _warn_of_problem(queue: Queue) -> None:
    """Report what else in the file is not valid: no worker starts before it is fixed."""
    try:
        _ = queue.settings
    except InvalidSetting as error:
        note(f"queuectl: warning: {error}")

"""`queuectl config`: the settings in queue.toml."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from queuectl.cli import app as shared
from queuectl.cli.render import note, print_json, styled, table
from queuectl.record.settings import describe

app = shared.group("The settings of the queue, in queue.toml.")


def _complete_key() -> list[tuple[str, str]]:
    return [(info.name, info.meaning) for info in describe().values()]


KeyArgument = Annotated[
    str,
    typer.Argument(metavar="KEY", autocompletion=_complete_key, help="The setting's name."),
]


@app.command("list")
def list_(
    context: typer.Context, as_json: shared.JsonOption = False, spool: shared.SpoolOption = None
) -> None:
    """List all settings: their values, which of them are set, and what they mean.

    \b
    Examples:
      queuectl config list
    """
    values = shared.open_queue(context, spool).setting_values()
    if as_json:
        print_json(values)
        return
    rows = []
    for info in describe().values():
        value = values[info.name]
        changed = "" if value == info.default else f"(default {_text(info.default)})"
        rows.append((info.name, _text(value), changed, info.meaning))
    table(("KEY", "VALUE", "", "MEANING"), rows, flexible=(3,))


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
    print_json(value) if as_json else print(_text(value))


@app.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a value
def set_(
    context: typer.Context,
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
    spool: shared.SpoolOption = None,
) -> None:
    """Change a setting. Workers that are running take it up at once.

    \b
    Examples:
      queuectl config set max_retries 5
      queuectl config set timeout 10m
    """
    new = shared.open_queue(context, spool, create=True).set_setting(key, value)
    note(f"{styled(key, 'bold')} is {_text(new)}")


@app.command()
def unset(context: typer.Context, key: KeyArgument, spool: shared.SpoolOption = None) -> None:
    """Go back to the default of a setting.

    \b
    Examples:
      queuectl config unset timeout
    """
    shared.open_queue(context, spool).unset_setting(key)
    note(f"{key} is {_text(describe()[key].default)}, the default")


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

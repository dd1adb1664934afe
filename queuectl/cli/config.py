"""`queuectl config`: the settings in queue.toml."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from queuectl.cli import app as shared
from queuectl.cli import render
from queuectl.cli.printing import interrupts_left_to_child, note, styled
from queuectl.errors import InvalidSetting, QueuectlError
from queuectl.queue import Queue
from queuectl.record.settings import defaults, describe, setting_named

app = shared.group("Show and change the settings in queue.toml.")


def _complete_key() -> list[tuple[str, str]]:
    return [(info.name, info.meaning) for info in describe().values()]


def _without_dashes(key: str) -> str:
    """Return the name of a setting that is written as an option would be: max-retries."""
    plain = key.replace("-", "_")
    return plain if plain in describe() else key


KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        autocompletion=_complete_key,
        callback=_without_dashes,
        help="Name of the setting.",
    ),
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
    values = shared.look(context, spool, _values, lambda _: defaults())
    render.show(values, as_json, render.settings)


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
    value = shared.look(
        context, spool, lambda queue: queue.setting(key), lambda _: setting_named(key).default
    )
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


@app.command()
def edit(context: typer.Context, spool: shared.SpoolOption = None) -> None:
    """Edit queue.toml with $VISUAL or $EDITOR.

    The text is checked before it is used: at a terminal, queuectl offers to go on editing if it is
    not valid.

    \b
    Examples:
      queuectl config edit
    """
    queue = shared.open_queue(context, spool, create=True)
    before = text = queue.settings_text()
    while True:
        text = _edited(text)
        if text == before:
            note("nothing is changed")
            return
        try:
            queue.replace_settings_text(before, text)
        except InvalidSetting as error:
            if sys.stdin.isatty() and typer.confirm(f"{error}. Go on editing?", True, err=True):
                continue
            raise
        note(f"{queue.settings_path} is changed")
        return


def _edited(text: str) -> str:
    """Return what somebody makes of a text in the editor. Raises QueuectlError."""
    import subprocess
    import tempfile
    from pathlib import Path

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="queuectl-") as directory:
        path = Path(directory, "queue.toml")
        path.write_text(text, encoding="utf-8")
        with interrupts_left_to_child():
            code = subprocess.run(["/bin/sh", "-c", f'{editor} "$1"', "sh", path]).returncode
        if code:
            raise QueuectlError(f"{editor!r} exited with {code}: nothing is changed")
        return path.read_text(encoding="utf-8", errors="replace")


def _values(queue: Queue) -> dict[str, Any]:
    values = queue.setting_values()
    _warn_of_problem(queue)
    return values


def _warn_of_problem(queue: Queue) -> None:
    """Report what else in the file is not valid: no worker starts before it is fixed."""
    try:
        _ = queue.settings
    except InvalidSetting as error:
        note(f"queuectl: warning: {error}")

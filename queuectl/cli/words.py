"""The words that people try first: other names of commands, help as a word, and hints."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from queuectl.errors import InvalidInput
from queuectl.record.wording import shown

ALIASES = {"ls": "list", "add": "enqueue", "rm": "remove", "status": "list"}
"""Other names of commands, where a group has the command and none of that name."""
HINTS = {
    "start": "worker start",
    "work": "worker start",
    "run": "worker start",
    "stop": "worker stop",
    "workers": "worker list",
    "submit": "enqueue",
    "push": "enqueue",
    "queue": "enqueue",
    "jobs": "list",
    "info": "show",
    "describe": "show",
    "inspect": "show",
    "output": "logs",
    "tail": "logs --follow",
    "follow": "logs --follow",
    "dead": "dlq list",
    "settings": "config list",
    "version": "--version",
}
"""What is meant by words of other programs."""
DESTRUCTIVE = {"purge", "remove", "cancel"}
"""The commands that no hint names: a hint is typed without much thought."""


class Group(TyperGroup):
    """A group whose commands have other names too, and whose hints never name a destructive one."""

    def own_command(self, ctx: typer.Context, name: str) -> Any:
        """Return the command of exactly this name, or None."""
        return super().get_command(ctx, name)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override] # a private type
        """Return a command by its name or by another name of it; None if there is none."""
        return self.own_command(ctx, cmd_name) or self.own_command(
            ctx, ALIASES.get(cmd_name, cmd_name)
        )

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override] # a private type
        """Find the command that the first word names; `help` is the option --help as a word."""
        if args == ["help"]:
            print(ctx.get_help())
            raise typer.Exit
        if args[0] == "help":
            args = [*args[1:], "--help"]
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise InvalidInput(_unknown(ctx, args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _unknown(context: typer.Context, word: str, commands: list[str]) -> str:
    from difflib import get_close_matches

    group = context.command_path
    hint = f"queuectl {HINTS.get(word, '')}"
    if not hint.startswith(group + " ") or hint.endswith(" "):
        near = get_close_matches(word, [c for c in commands if c not in DESTRUCTIVE], n=1)
        hint = f"{group} {near[0]}" if near else ""
    advice = f"did you mean `{hint}`?" if hint else f"`{group} --help` lists the commands"
    return f"unknown command {shown(word)}; {advice}"

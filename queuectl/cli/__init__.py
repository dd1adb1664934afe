"""The command line, over the Python API: one file for each command or group of commands."""

from __future__ import annotations

import gc

gc.disable()  # during the imports: they make no garbage, and looking costs a tenth of an enqueue

import os
import sys

import typer

from queuectl.cli import app
from queuectl.errors import QueuectlError

gc.freeze()
gc.enable()


def main() -> None:
    """Run the command line. Every failure ends with one line on stderr and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = typer.main.get_command(app.app).main(
            arguments, prog_name="queuectl", standalone_mode=False
        )
        sys.stdout.flush()
    except QueuectlError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # wrong usage
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command prints its help
            print(message, file=sys.stderr)
            return error.exit_code
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "queuectl"
        return _fail(f"{message} (see: {command} --help)", error.exit_code)
    except BrokenPipeError:  # `queuectl list | head`: nobody reads the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    except Exception as error:
        if os.environ.get("QUEUECTL_DEBUG"):
            raise
        return _fail(
            f"unexpected {type(error).__name__}: {error}; this is a bug. Please report it "
            "with the output of the same command run with QUEUECTL_DEBUG=1",
            1,
        )
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    from queuectl.view.text import printable

    print(f"queuectl: error: {printable(message)}", file=sys.stderr)
    return code

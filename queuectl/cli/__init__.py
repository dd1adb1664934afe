"""The command line, over the Python API: one file for each command or group of commands."""

from __future__ import annotations

import contextlib
import gc
import signal

# During the imports a Ctrl-C ends the process: there is nothing to clean up, and no traceback.
_on_interrupt = signal.getsignal(signal.SIGINT)
with contextlib.suppress(ValueError):  # not the main thread: then no signal comes here
    if _on_interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

gc.disable()  # during the imports: they make no garbage, and looking costs a tenth of an enqueue

import os
import sys

import typer

from queuectl.cli import app
from queuectl.errors import QueuectlError

gc.freeze()
gc.enable()
with contextlib.suppress(ValueError):
    signal.signal(signal.SIGINT, _on_interrupt)


def main() -> None:
    """Run the command line. Every failure ends with one line on stderr and an exit code."""
    _open_standard_streams()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = -signal.SIGINT
    if code < 0:
        _die_by(-code)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: let Ctrl-C find no Python
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: -N if it must die by signal N."""
    try:
        code = typer.main.get_command(app.app).main(
            arguments, prog_name="queuectl", standalone_mode=False
        )
        sys.stdout.flush()
    except app.EndedBy as error:
        return -error.number
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
        return -signal.SIGPIPE
    except (KeyboardInterrupt, typer.Abort):
        return -signal.SIGINT
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


def _open_standard_streams() -> None:
    """Make text that the locale cannot encode harmless, and closed descriptors /dev/null.

    A descriptor that is closed (`>&-`) would be given to the next file that is opened, which may be
    a job.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            stream = open(number, "w" if number else "r", encoding="utf-8")  # noqa: SIM115 - stays
            setattr(sys, name, stream)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a file


def _die_by(number: int) -> None:
    """End by a signal, so that a shell sees it and ends its loop too."""
    if number != signal.SIGPIPE:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # PID 1 of a container gets no signal from itself


def _fail(message: str, code: int) -> int:
    from queuectl.view.text import printable

    print(f"queuectl: error: {printable(message)}", file=sys.stderr)
    return code

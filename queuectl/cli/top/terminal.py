"""The terminal while `queuectl top` runs: its screen, its keys, and its state before and after."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable

from rich.console import Console, RenderableType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ESCAPE_PATIENCE = 0.05
"""Seconds to wait for the rest of a key's escape sequence, long enough for a slow line."""

_SEQUENCE = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]")
_BEGUN = re.compile(rb"\x1b(\[[0-9;]*|O)?\Z")
_NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"\x1b[5~": "pgup", b"\x1b[6~": "pgdn", b"\x1b[Z": "backtab",
}  # fmt: skip
_CONTROLS = {"\t": "tab", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace"}


def decode(data: bytes) -> list[str]:
    """Return the keys that were pressed: a character, or `up`, `tab`, `esc`. Others are ignored."""
    keys: list[str] = []
    at = 0
    while at < len(data):
        if match := _SEQUENCE.match(data, at):
            keys += [_NAMES[match[0]]] if match[0] in _NAMES else []
            at = match.end()
        elif data[at] == 0x1B:
            keys.append("esc")
            at += 1
        else:
            end = data.find(b"\x1b", at)
            end = len(data) if end < 0 else end
            text = data[at:end].decode(errors="ignore")
            keys += [_CONTROLS.get(c, c) for c in text if c in _CONTROLS or c.isprintable()]
            at = end
    return keys


class Terminal:
    """The alternate screen, without cursor and echo, for the time of a `with` statement.

    A thread reads the keys. It and the signal handlers call `notify` when `keys`, `ended_by` or
    the size of the terminal has changed.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.keys: deque[str] = deque()
        self.ended_by: int | None = None
        self._notify = notify
        self._input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._input)
        self._stopped, self._stopper = os.pipe()
        self._reader = threading.Thread(target=self._read, name="keys", daemon=True)
        self._handlers: dict[int, object] = {}
        self._suspend = False

    @property
    def can_show_bars(self) -> bool:
        """Whether the terminal shows more than ASCII."""
        return self.console.encoding.startswith("utf")

    def __enter__(self) -> Terminal:
        for number in (*ENDING, signal.SIGWINCH, signal.SIGTSTP):
            self._handlers[number] = signal.signal(number, self._signalled)
        self._take()
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stopper, b"!")
        self._reader.join()
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # as signal.signal returned it
        os.close(self._stopped)
        os.close(self._stopper)

    def show(self, screen: RenderableType) -> None:
        """Show a whole screen. If Ctrl-Z was pressed, first stop until SIGCONT comes."""
        if self._suspend:
            self._suspend = False
            self._give_back()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._take()
        self.console.update_screen(screen)

    def _take(self) -> None:
        mode = termios.tcgetattr(self._input)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        try:
            termios.tcsetattr(self._input, termios.TCSADRAIN, mode)
            self.console.set_alt_screen(True)
            self.console.show_cursor(False)
        except BaseException:
            self._give_back()
            raise

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):  # the terminal may have gone
            self.console.show_cursor(True)
            self.console.set_alt_screen(False)
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _signalled(self, number: int, _: object) -> None:
        if number in ENDING:
            self.ended_by = number
        elif number == signal.SIGTSTP:
            self._suspend = True
        self._notify()

    def _read(self) -> None:
        while self._stopped not in select.select([self._input, self._stopped], [], [])[0]:
            data = self._input_bytes()
            while _BEGUN.search(data) and self._more_comes():
                if not (more := self._input_bytes()):
                    break
                data += more
            if data:
                self.keys.extend(decode(data))
            else:  # the terminal has gone
                self.ended_by = self.ended_by or signal.SIGHUP
            self._notify()
            if not data:
                return

    def _more_comes(self) -> bool:
        return bool(select.select([self._input], [], [], ESCAPE_PATIENCE)[0])

    def _input_bytes(self) -> bytes:
        try:
            return os.read(self._input, 4096)
        except OSError:
            return b""

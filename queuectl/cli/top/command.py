"""The command `queuectl top`: its loop, which looks at the spool, draws and acts on keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl import clock
from queuectl.cli import app as shared
from queuectl.errors import InvalidInput
from queuectl.queue import Queue

if TYPE_CHECKING:
    from queuectl.cli.top.terminal import Terminal
    from queuectl.cli.top.view import View
    from queuectl.queue import Watch

MIN_SECONDS = 0.25
"""Shortest time between two looks at the spool: thousands of events may come."""
IDLE_SECONDS = 2.0
"""Time between two looks when nothing happens, so that the ages on the screen advance."""
LOG_SECONDS = 0.5
"""Time between two looks at the size of the log that is followed: its growth makes no event."""
LISTING_SHARE = 4
"""After a look, wait for at least this many times as long as the look took."""


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print what top shows as one JSON document, and exit.")
]


def top(
    context: typer.Context,
    as_json: JsonOption = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Watch the queue live in the terminal, and act on its jobs.

    Shows counts, throughput, workers, and the running, waiting, failed, dead and completed jobs.
    Keys: arrows move, tab changes the list, l shows a job's output, r retries a job, c cancels
    it, / filters, p pauses, ? shows all keys, q quits.

    \b
    Examples:
      queuectl top
      queuectl top --spool /var/lib/queuectl
      queuectl top --json | jq .throughput.per_second
    """
    queue = shared.open_queue(context, spool)
    if as_json:
        from queuectl.cli.printing import print_json
        from queuectl.cli.top.view import View

        print_json(View(queue).document())
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("top needs a terminal: in a pipe, use `queuectl top --json`")
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise InvalidInput(
            "top needs a terminal that can move its cursor, but TERM names none: "
            "try `TERM=xterm queuectl top`"
        )
    if ended_by := _show(queue):
        raise shared.EndedBy(ended_by)


def _show(queue: Queue) -> int | None:
    """Show the queue until a key or a signal ends it; return the signal, if it was one."""
    import logging

    from queuectl.cli.top.terminal import Terminal
    from queuectl.cli.top.view import View

    logging.getLogger("queuectl").addHandler(logging.NullHandler())  # log nothing to the screen
    watch = queue.watch()
    view = View(queue)
    try:
        watch.arm()
        view.load()
        with Terminal(watch.notify) as terminal:
            _run(view, watch, terminal)
            return terminal.ended_by
    finally:
        watch.close()


def _run(view: View, watch: Watch, terminal: Terminal) -> None:
    from queuectl.cli.top.screen import draw

    pace = _Pace()
    while not view.over and terminal.ended_by is None:
        size = terminal.console.size
        rows = view.jobs.rows
        screen = draw(view, size.width, size.height, ascii_only=not terminal.can_show_bars)
        if view.jobs.rows != rows:  # the size of the terminal has changed
            view.load()
            continue
        terminal.show(screen)
        happened = bool(watch.wait(0 if terminal.keys else pace.patience(view))[0])
        while terminal.keys:
            view.press(terminal.keys.popleft())
        if pace.is_due(view, happened) and not view.paused:
            pace.look(view.load)
            watch.arm()


class _Pace:
    """When to look at the spool: soon after an event and once more, otherwise at an interval.

    An event reports a file that arrives. What happens next, above all a claim, makes no event.
    """

    def __init__(self) -> None:
        self._last = clock.monotonic()
        self._rest = MIN_SECONDS
        self._hints = 1

    def patience(self, view: View) -> float:
        """Return the seconds until the next look."""
        if view.paused:
            return 3600.0
        return max(self._last + self._interval(view) - clock.monotonic(), 0.0)

    def is_due(self, view: View, happened: bool) -> bool:
        """Record whether an event has come, and return whether it is time to look."""
        if happened:
            self._hints = 2
        return self.patience(view) == 0.0

    def look(self, look: Callable[[], None]) -> None:
        """Look, and set the time until the next look in proportion to how long this one took."""
        start = clock.monotonic()
        look()
        self._last = clock.monotonic()
        self._rest = max(MIN_SECONDS, (self._last - start) * LISTING_SHARE)
        self._hints = max(self._hints - 1, 0)

    def _interval(self, view: View) -> float:
        if self._hints:
            return self._rest
        return max(LOG_SECONDS if view.mode == "log" else IDLE_SECONDS, self._rest)

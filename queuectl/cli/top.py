"""`queuectl top`: the queue, live in a terminal."""

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
    from queuectl.cli.top_terminal import Terminal
    from queuectl.cli.top_view import View
    from queuectl.spool.watch import Watch

LEAST_SECONDS = 0.25
"""Between two looks at the spool: events may come by the thousand."""
IDLE_SECONDS = 2.0
"""Between two looks when nothing happens, so that what is shown as running goes on."""
LOG_SECONDS = 0.5
"""Between two looks at the size of the log that is followed: no event tells that it grows."""
LISTING_SHARE = 4
"""A look takes at most this part of the time, however many jobs there are."""


def top(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what it shows as one JSON document, and leave.")
    ] = False,
    spool: shared.SpoolOption = None,
) -> None:
    """Watch the queue live in the terminal, and act on its jobs.

    Counts, throughput, workers, and the running, waiting, failed, dead and completed jobs.
    Keys: arrows move, tab changes the list, l shows a job's output, r retries, c cancels, /
    filters, p pauses, ? tells all of them, q leaves.

    \b
    Examples:
      queuectl top
      queuectl top --spool /var/lib/queuectl
      queuectl top --json | jq .throughput.per_second
    """
    queue = shared.open_queue(context, spool)
    if as_json:
        from queuectl.cli.render import print_json
        from queuectl.cli.top_view import View

        print_json(View(queue).document())
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("top needs a terminal: `queuectl top --json` prints to a pipe")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise InvalidInput("top needs a terminal that can move its cursor, and TERM says it cannot")
    if ended_by := _watch(queue):
        raise typer.Exit(128 + ended_by)


def _watch(queue: Queue) -> int | None:
    """Show the queue until told to leave; return the signal that told so, if one did."""
    import logging

    from queuectl.cli.top_terminal import Terminal
    from queuectl.cli.top_view import View
    from queuectl.spool.watch import Watch

    logging.getLogger("queuectl").addHandler(logging.NullHandler())  # not across the screen
    paths = queue.spool.layout
    wake = Watch([*paths.states.values(), paths.workers])
    view = View(queue)
    try:
        wake.arm()
        view.load()
        with Terminal(wake.notify) as terminal:
            _run(view, wake, terminal)
            return terminal.ended_by
    finally:
        wake.close()


def _run(view: View, wake: Watch, terminal: Terminal) -> None:
    from queuectl.cli.top_screen import draw

    pace = _Pace()
    while not view.over and terminal.ended_by is None:
        size = terminal.console.size
        rows = view.rows
        screen = draw(view, size.width, size.height, ascii_only=not terminal.can_show_bars)
        if view.rows != rows:  # the terminal has another size
            view.load()
            continue
        terminal.show(screen)
        happened = bool(wake.wait(0 if terminal.keys else pace.patience(view))[0])
        while terminal.keys:
            view.press(terminal.keys.popleft())
        if pace.is_due(view, happened) and not view.paused:
            pace.look(view.load)
            wake.arm()


class _Pace:
    """When to look at the spool: soon after an event and once more, else now and then.

    An event tells of what arrives; what follows from it, a claim above all, comes without one.
    """

    def __init__(self) -> None:
        self._last = clock.monotonic()
        self._rest = LEAST_SECONDS
        self._hints = 1

    def patience(self, view: View) -> float:
        """Return the seconds to the next look."""
        if view.paused:
            return 3600.0
        return max(self._last + self._interval(view) - clock.monotonic(), 0.0)

    def is_due(self, view: View, happened: bool) -> bool:
        """Note whether something has happened; return whether it is time to look."""
        if happened:
            self._hints = 2
        return self.patience(view) == 0.0

    def look(self, look: Callable[[], None]) -> None:
        """Look, and rest in proportion to how long that took."""
        start = clock.monotonic()
        look()
        self._last = clock.monotonic()
        self._rest = max(LEAST_SECONDS, (self._last - start) * LISTING_SHARE)
        self._hints = max(self._hints - 1, 0)

    def _interval(self, view: View) -> float:
        if self._hints:
            return self._rest
        return max(LOG_SECONDS if view.mode == "log" else IDLE_SECONDS, self._rest)

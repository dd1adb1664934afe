"""The list of jobs in `top`: one state, a page of its jobs, one of them selected."""

from __future__ import annotations

from queuectl.queue import LISTING_ORDER
from queuectl.record.job import State
from queuectl.view.pages import Browser, Page, Query

WAITING: tuple[State, ...] = ("pending", "failed")
OLDEST_FIRST: tuple[State, ...] = ("processing", "pending", "failed")


class JobList:
    """The jobs of a state whose id or command contains `search`.

    `rows` is the number of jobs that fit on the screen, and so the size of a page.
    """

    def __init__(self, browser: Browser) -> None:
        self.state: State = "processing"
        self.search = ""
        self.rows = 10
        self.page = Page([], 0, 1, 1)
        self.row = 0
        self.selected = ""
        self._browser = browser

    def load(self) -> None:
        """Read the current page again. The selected job stays selected while it is there."""
        self._turn_to(self.page.number)

    def show(self, state: State) -> None:
        """Show the jobs of another state, from the first page."""
        self.state = state
        self._open(1, 0)

    def filter(self, text: str) -> None:
        """Show only jobs whose id or command contains a text."""
        self.search = text
        self._open(1, 0)

    def press(self, key: str) -> None:
        """Do what a key asks for: select another job, or show another page or state."""
        last = len(self.page.jobs) - 1
        match key:
            case "down" | "j" if self.row < last:
                self._select(self.row + 1)
            case "down" | "j" | "pgdn" if self.page.number < self.page.pages:
                self._open(self.page.number + 1, 0)
            case "up" | "k" if self.row > 0:
                self._select(self.row - 1)
            case "up" | "k" if self.page.number > 1:
                self._open(self.page.number - 1, self.rows)
            case "pgup" if self.page.number > 1:
                self._open(self.page.number - 1, 0)
            case "home" | "g" | "pgup":
                self._open(1, 0)
            case "end" | "G" | "pgdn":
                self._open(self.page.pages, self.rows)
            case "tab" | "backtab":
                step = 1 if key == "tab" else -1
                at = LISTING_ORDER.index(self.state) + step
                self.show(LISTING_ORDER[at % len(LISTING_ORDER)])

    def _select(self, row: int) -> None:
        self.row = row
        self.selected = self.page.jobs[row].id

    def _open(self, number: int, row: int) -> None:
        self.selected, self.row = "", row
        self._turn_to(number)

    def _turn_to(self, number: int) -> None:
        self.page = self._browser.page(
            Query(
                state=self.state,
                search=self.search,
                sort="next" if self.state in WAITING else "changed",
                descending=self.state not in OLDEST_FIRST,
                page=number,
                size=max(self.rows, 1),
            )
        )
        ids = [status.id for status in self.page.jobs]
        if self.selected in ids:
            self.row = ids.index(self.selected)
        self.row = max(min(self.row, len(ids) - 1), 0)
        self.selected = ids[self.row] if ids else ""

"""The pages that show many: overview, jobs, dead letters, workers."""

from __future__ import annotations

from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from queuectl.errors import InvalidInput
from queuectl.record.job import STATES, State
from queuectl.view.pages import MAX_PAGE, SORTS, Query
from queuectl.view.status import job_status
from queuectl.view.text import command_of, printable
from queuectl.web.chart import draw
from queuectl.web.site import Site, said, whole
from queuectl.web.timeline import SPANS

PAGE_SIZES = (25, 50, 100, 200)
_MOST_SEARCHED = 200
_RECENT = Query(size=8)
_MOST_READ = 1000
"""Records that are read for the chart while a page is made; the hub reads the rest."""


def overview(request: Request, site: Site) -> Response:
    """Show the queue at a glance."""
    span = request.query_params.get("span", "1h")
    if span not in SPANS:
        raise InvalidInput(f"there is no span {span!r}: there are {', '.join(SPANS)}")
    counts = site.numbers()
    site.timeline.note(site.browser.arrivals(), _MOST_READ)  # what the counting has found
    return site.pages.render(
        "overview.html",
        nav="overview",
        counts=counts,
        workers=site.queue.workers(),
        chart=draw(span, site.timeline.series(span)),
        spans=SPANS,
        recent=site.browser.page(_RECENT).jobs,
    )


def jobs(request: Request, site: Site) -> Response:
    """List the jobs, of one state or all."""
    return _listing(request, site, "jobs.html", "jobs", None)


def dead(request: Request, site: Site) -> Response:
    """List the dead letters, to be retried or removed."""
    return _listing(request, site, "dead.html", "dead", "dead")


def workers(_: Request, site: Site) -> Response:
    """Show the workers and what each of their slots does."""
    running = islice(site.queue.spool.reader.claims(), _MOST_READ)
    seen = [(place, job_status(site.queue.spool.reader, place)) for place in running]
    return site.pages.render(
        "workers.html",
        nav="workers",
        counts=site.numbers(),
        workers=site.queue.workers(),
        commands={
            (place.worker, place.id, place.attempt): command_of(status.job)
            for place, status in seen
            if status is not None
        },
    )


class Links:
    """Addresses of the same list, seen otherwise."""

    def __init__(self, path: str, query: Query, state: str) -> None:
        self.path = path
        self._query = query
        self._state = state

    def to(self, **changes: Any) -> str:
        """Return the address with some things changed; any change but of the page begins anew."""
        state = changes.pop("state", self._state)
        query = msgspec.structs.replace(self._query, **{"page": 1, **changes})
        default = Query()
        given = {
            "state": state,
            "q": query.search,
            "sort": query.sort if query.sort != default.sort else "",
            "order": "" if query.descending else "asc",
            "size": str(query.size) if query.size != default.size else "",
            "page": str(query.page) if query.page > 1 else "",
        }
        text = urlencode({key: value for key, value in given.items() if value})
        return f"{self.path}?{text}" if text else self.path

    def sorted_by(self, sort: str) -> str:
        """Return the address of the list sorted so; the other way round if it is already."""
        if sort == self._query.sort:
            return self.to(descending=not self._query.descending)
        return self.to(sort=sort, descending=sort != "id")

    def aria(self, sort: str) -> str:
        """Return how a column is sorted, in the words of aria-sort."""
        if sort != self._query.sort:
            return "none"
        return "descending" if self._query.descending else "ascending"


def _listing(
    request: Request, site: Site, template: str, nav: str, fixed: State | None
) -> Response:
    state = fixed or _state(request.query_params.get("state", ""))
    query = _query(request, state)
    found = site.browser.page(query)
    links = Links(request.url.path, query, "" if fixed else state or "")
    return site.pages.render(
        template,
        nav=nav,
        counts=site.numbers(),
        query=query,
        page=found,
        links=links,
        sorts=SORTS,
        sizes=PAGE_SIZES,
        said=said(request),
        chore=site.chores.words(),
    )


def _query(request: Request, state: State | None) -> Query:
    given = request.query_params
    sort = given.get("sort", "changed")
    if sort not in SORTS:
        raise InvalidInput(f"jobs are not sorted by {printable(sort)!r}: by {', '.join(SORTS)}")
    return Query(
        state=state,
        search=given.get("q", "")[:_MOST_SEARCHED].strip(),
        sort=sort,
        descending=given.get("order", "desc") != "asc",
        page=whole(given.get("page"), 1, 10**8),
        size=whole(given.get("size"), 50, MAX_PAGE),
    )


def _state(text: str) -> State | None:
    if not text:
        return None
    if text not in STATES:
        raise InvalidInput(f"there is no state {text!r}: there are {', '.join(STATES)}")
    return text

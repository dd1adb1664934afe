"""Lists of jobs: searched, sorted and in pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from queuectl.errors import InvalidInput
from queuectl.record.job import STATES, State
from queuectl.view.pages import MAX_PAGE, SORTS, Query
from queuectl.view.text import printable
from queuectl.web.endpoints import as_json, notice, number, wants_json
from queuectl.web.site import Site

PAGE_SIZES = (25, 50, 100, 200)
_MAX_SEARCH_CHARS = 200
_MAX_REASON_CHARS = 1000
_MAX_REASONS = 8


def jobs(request: Request, site: Site) -> Response:
    """List the jobs of one state, or of all states."""
    return listing(request, site, "jobs.html", "jobs")


class Links:
    """Addresses of the same list with another state, search, order or page."""

    def __init__(self, path: str, query: Query, state: str) -> None:
        self.path = path
        self._query = query
        self._state = state

    def to(self, **changes: Any) -> str:
        """Return the address with some changes; it is that of the first page unless `page` is
        given."""
        state = changes.pop("state", self._state)
        query = msgspec.structs.replace(self._query, **{"page": 1, **changes})
        default = Query()
        given = {
            "state": state,
            "q": query.search,
            "reason": query.reason,
            "sort": query.sort if query.sort != default.sort else "",
            "order": "" if query.descending else "asc",
            "size": str(query.size) if query.size != default.size else "",
            "page": str(query.page) if query.page > 1 else "",
        }
        text = urlencode({key: value for key, value in given.items() if value})
        return f"{self.path}?{text}" if text else self.path

    def sorted_by(self, sort: str) -> str:
        """Return the address sorted by a column, in reverse if it is already sorted by it."""
        if sort == self._query.sort:
            return self.to(descending=not self._query.descending)
        return self.to(sort=sort, descending=sort != "id")

    def aria(self, sort: str) -> str:
        """Return how a column is sorted, as a value of aria-sort."""
        if sort != self._query.sort:
            return "none"
        return "descending" if self._query.descending else "ascending"


def listing(
    request: Request, site: Site, template: str, nav: str, fixed: State | None = None
) -> Response:
    """Render a list of the jobs in the `fixed` state, or in the state that the address gives."""
    state = fixed or _state(request.query_params.get("state", ""))
    query = _query(request, state)
    found = site.browser.page(query)
    if wants_json(request):
        jobs = [status.to_json() for status in found.jobs]
        about = {"total": found.total, "page": found.number, "pages": found.pages}
        return as_json({**about, "jobs": jobs})
    links = Links(request.url.path, query, "" if fixed else state or "")
    return site.renderer.render(
        template,
        nav=nav,
        counts=site.counts(),
        query=query,
        page=found,
        links=links,
        reasons=site.browser.reasons("dead")[:_MAX_REASONS] if state == "dead" else [],
        sorts=SORTS,
        sizes=PAGE_SIZES,
        notice=notice(request),
        task=site.tasks.message(),
    )


def _query(request: Request, state: State | None) -> Query:
    given = request.query_params
    sort = given.get("sort", "changed")
    if sort not in SORTS:
        raise InvalidInput(f"unknown order '{printable(sort)}'; choose from {', '.join(SORTS)}")
    return Query(
        state=state,
        reason=given.get("reason", "")[:_MAX_REASON_CHARS],
        search=given.get("q", "")[:_MAX_SEARCH_CHARS].strip(),
        sort=sort,
        descending=given.get("order", "desc") != "asc",
        page=number(given.get("page"), 1, 10**8),
        size=number(given.get("size"), 50, MAX_PAGE),
    )


def _state(text: str) -> State | None:
    if not text:
        return None
    if text not in STATES:
        raise InvalidInput(f"unknown state '{printable(text)}'; choose from {', '.join(STATES)}")
    return text

"""The overview: the jobs by state, the chart, the workers, and the jobs that changed last."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from queuectl.errors import InvalidInput
from queuectl.view.pages import Query
from queuectl.view.text import printable
from queuectl.web.chart import draw
from queuectl.web.endpoints import as_json, wants_json
from queuectl.web.site import Site
from queuectl.web.timeline import SPANS

_RECENT = Query(size=8)
_MAX_RECORDS = 1000
"""Records to read for the chart while the page is made; the live updates read the rest."""


def overview(request: Request, site: Site) -> Response:
    """Show the queue at a glance."""
    span = request.query_params.get("span", "1h")
    if span not in SPANS:
        raise InvalidInput(f"unknown span '{printable(span)}'; choose from {', '.join(SPANS)}")
    if wants_json(request):
        return as_json(site.queue.status())
    counts = site.counts()
    arrivals = site.browser.arrivals()  # which the counting has found
    site.timeline.note(arrivals, _MAX_RECORDS, site.browser.left_out)
    return site.renderer.render(
        "overview.html",
        nav="overview",
        counts=counts,
        workers=site.queue.workers(),
        chart=draw(span, site.timeline.series(span), site.timeline.complete_since()),
        spans=SPANS,
        recent=site.browser.page(_RECENT).jobs,
    )

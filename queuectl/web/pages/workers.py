"""The workers, and what each of their slots is running."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from queuectl.view.text import command_of
from queuectl.web.endpoints import as_json, wants_json
from queuectl.web.site import Site

_MAX_RECORDS = 1000


def workers(request: Request, site: Site) -> Response:
    """Show the workers with their slots."""
    if wants_json(request):
        return as_json(site.queue.workers())
    return site.renderer.render(
        "workers.html",
        nav="workers",
        counts=site.counts(),
        workers=site.queue.workers(),
        commands={
            (status.worker, status.id, status.attempt): command_of(status.job)
            for status in site.queue.running(_MAX_RECORDS)
        },
    )

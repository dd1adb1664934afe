"""The workers, and what each of their slots is running."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from queuectl.view.text import command_of
from queuectl.web.site import Site

_MAX_RECORDS = 1000


def workers(_: Request, site: Site) -> Response:
    """Show the workers with their slots."""
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

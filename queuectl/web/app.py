"""The ASGI application: its routes, and what becomes of errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from queuectl import errors
from queuectl.queue import Queue
from queuectl.web import dead_letters, forms, job_page, probes, views
from queuectl.web.guard import Access, Guard
from queuectl.web.page import error_message
from queuectl.web.site import Site, action, page, site_of
from queuectl.web.stream import events

STATUSES: dict[type[Exception], int] = {
    errors.InvalidInput: 400,
    errors.NoSuchJob: 404,
    errors.AmbiguousId: 409,
    errors.IdTaken: 409,
    errors.WrongState: 409,
    errors.ClaimLost: 409,
    errors.NotDurable: 507,
    errors.SpoolUnusable: 503,
}
"""The HTTP status of each error; the nearest ancestor decides, 500 if there is none."""

_TITLES = {
    400: "That is not valid",
    404: "Not found",
    405: "Not done that way",
    409: "That cannot be done now",
    503: "The spool cannot be used",
    507: "The disk refuses",
}


def routes() -> list[BaseRoute]:
    """List all that is served. What is added here is guarded as all the rest."""
    return [
        Route("/", page(views.overview)),
        Route("/jobs", page(views.jobs)),
        Route("/jobs/{job_id}", page(job_page.job)),
        Route("/jobs/{job_id}/logs/{attempt}", page(job_page.log)),
        Route("/jobs/{job_id}/cancel", action(job_page.cancel), methods=["POST"]),
        Route("/jobs/{job_id}/retry", action(job_page.retry), methods=["POST"]),
        Route("/dead", page(views.dead)),
        Route("/dead/retry", action(dead_letters.retry_selected), methods=["POST"]),
        Route("/dead/retry-all", action(dead_letters.retry_all), methods=["POST"]),
        Route("/dead/purge", action(dead_letters.purge), methods=["POST"]),
        Route("/workers", page(views.workers)),
        Route("/enqueue", page(forms.enqueue_form)),
        Route("/enqueue", action(forms.enqueue), methods=["POST"]),
        Route("/enqueue/json", action(forms.enqueue_json), methods=["POST"]),
        Route("/settings", page(forms.settings)),
        Route("/settings/{key}", action(forms.change_setting), methods=["POST"]),
        Route("/events", events),
        Route("/healthz", probes.healthz),
        Route("/metrics", probes.metrics),
        Mount("/static", StaticFiles(packages=[("queuectl.web", "static")])),
    ]


def make_app(queue: Queue, access: Access) -> Starlette:
    """Make the application for one queue."""
    site = Site(queue, access)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        site.hub.start()
        yield
        site.hub.close()
        site.chores.close()

    app = Starlette(
        routes=routes(),
        middleware=[Middleware(Guard, access=access, pages=site.pages)],
        exception_handlers={
            errors.QueuectlError: _refused,
            OSError: _refused,
            HTTPException: _no_such_page,
        },
        lifespan=lifespan,
    )
    app.state.site = site
    return app


def _refused(request: Request, error: Exception) -> Response:
    kinds = (STATUSES.get(kind) for kind in type(error).__mro__)
    status = next((status for status in kinds if status), 500)
    return _say(request, status, error_message(error))


def _no_such_page(request: Request, error: Exception) -> Response:
    status = cast(HTTPException, error).status_code
    return _say(request, status, "There is no such page." if status == 404 else str(error))


def _say(request: Request, status: int, message: str) -> Response:
    title = _TITLES.get(status, "It could not be done")
    return site_of(request).pages.refusal(request.scope, status, title, message)

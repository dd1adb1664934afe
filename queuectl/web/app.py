"""The ASGI application: its routes, and the answers to errors."""

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
from queuectl.web.access import Access, AccessMiddleware
from queuectl.web.endpoints import action, page, site_of
from queuectl.web.pages import (
    dead_letters,
    enqueue,
    events,
    job,
    lists,
    overview,
    probes,
    settings,
    workers,
)
from queuectl.web.rendering import error_message
from queuectl.web.site import Site

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
"""The HTTP status of each error, or of its nearest ancestor that is listed; otherwise 500."""

_TITLES = {
    400: "Invalid request",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    503: "The spool cannot be used",
    507: "The change could not be saved",
}


def routes() -> list[BaseRoute]:
    """List all routes. The access control covers every one of them."""
    return [
        Route("/", page(overview.overview)),
        Route("/jobs", page(lists.jobs)),
        Route("/jobs/{job_id}", page(job.job)),
        Route("/jobs/{job_id}/logs/{attempt}", page(job.log)),
        Route("/jobs/{job_id}/cancel", action(job.cancel), methods=["POST"]),
        Route("/jobs/{job_id}/retry", action(job.retry), methods=["POST"]),
        Route("/dead", page(dead_letters.dead)),
        Route("/dead/retry", action(dead_letters.retry_selected), methods=["POST"]),
        Route("/dead/retry-all", action(dead_letters.retry_all), methods=["POST"]),
        Route("/dead/purge", action(dead_letters.purge), methods=["POST"]),
        Route("/workers", page(workers.workers)),
        Route("/enqueue", page(enqueue.enqueue_form)),
        Route("/enqueue", action(enqueue.enqueue), methods=["POST"]),
        Route("/enqueue/json", action(enqueue.enqueue_json), methods=["POST"]),
        Route("/settings", page(settings.settings)),
        Route("/settings", action(settings.change_settings), methods=["POST"]),
        Route("/settings/{key}", action(settings.change_setting), methods=["POST"]),
        Route("/events", events.events),
        Route("/healthz", probes.healthz),
        Route("/metrics", probes.metrics),
        Mount("/static", StaticFiles(packages=[("queuectl.web", "static")])),
    ]


def make_app(queue: Queue, access: Access) -> Starlette:
    """Make the application for one queue."""
    site = Site(queue, access)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        site.live.start()
        yield
        site.live.close()
        site.tasks.close()

    app = Starlette(
        routes=routes(),
        middleware=[Middleware(AccessMiddleware, access=access, renderer=site.renderer)],
        exception_handlers={
            errors.QueuectlError: _refused,
            OSError: _refused,
            HTTPException: _http_error,
        },
        lifespan=lifespan,
    )
    app.state.site = site
    return app


def _refused(request: Request, error: Exception) -> Response:
    kinds = (STATUSES.get(kind) for kind in type(error).__mro__)
    status = next((status for status in kinds if status), 500)
    return _answer(request, status, error_message(error))


def _http_error(request: Request, error: Exception) -> Response:
    found = cast(HTTPException, error)
    message = "This page does not exist." if found.status_code == 404 else found.detail
    return _answer(request, found.status_code, message)


def _answer(request: Request, status: int, message: str) -> Response:
    title = _TITLES.get(status, "The request failed")
    return site_of(request).renderer.error_page(request.scope, status, title, message)

"""What machines ask: `/healthz` for probes, `/metrics` for Prometheus."""

from __future__ import annotations

import json

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from queuectl.errors import InvalidInput
from queuectl.view import health
from queuectl.web.guard import LET_IN
from queuectl.web.site import site_of

_MAX_AGE, _MAX_DEAD, _MIN_FREE = "max_age", "max_dead", "min_free"


def healthz(request: Request) -> Response:
    """Say whether the queue is well: 200, or 503 and why, one reason a line.

    Who has not shown the token is told no more than that: the reasons name paths and jobs.
    """
    limits = _limits(request)
    site = site_of(request)
    told_all = request.scope.get(LET_IN, True)
    seen = health.observe_all(site.queue.path) if told_all else site.pulse.seen()
    reasons = health.judge(seen, limits)
    status = 503 if reasons else 200
    if "application/json" in request.headers.get("accept", ""):
        found = health.document(seen, reasons) if told_all else {"healthy": not reasons}
        text = json.dumps(msgspec.to_builtins(found))  # in ASCII: a path may not be UTF-8
        return Response(text, status, media_type="application/json")
    if not told_all and reasons:
        return PlainTextResponse("not well; who sends the token is told why\n", status)
    lines = [f"{found.check}: {found.reason}" for found in reasons] or ["healthy"]
    return PlainTextResponse("\n".join(lines) + "\n", status)


def metrics(request: Request) -> Response:
    """Return the queue's gauges; 501 if the extra that makes them is not installed."""
    try:
        from queuectl.view import metrics as made
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        words = "metrics need their extra: pip install 'queuectl-spool[metrics]'\n"
        return PlainTextResponse(words, 501)
    page = made.render(site_of(request).queue.path, strict=False)
    return Response(page, media_type=made.CONTENT_TYPE)


def _limits(request: Request) -> health.Limits:
    """Read the limits of the address: those of `queuectl health`. Raises InvalidInput."""
    given = request.query_params
    known = (_MAX_AGE, _MAX_DEAD, _MIN_FREE)
    if unknown := set(given) - {*known, "token"}:
        raise InvalidInput(f"there is no limit {min(unknown)!r}: there are {', '.join(known)}")
    most = given.get(_MAX_DEAD)
    if most is not None and not (most.isascii() and most.isdigit() and len(most) < 19):
        raise InvalidInput(f"{_MAX_DEAD} is a whole number, not {most!r}")
    return health.limits(
        given.get(_MAX_AGE), None if most is None else int(most), given.get(_MIN_FREE, "1%")
    )

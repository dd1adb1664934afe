"""Answers for programs: `/healthz` for probes, `/metrics` for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from queuectl.errors import InvalidInput
from queuectl.view import health
from queuectl.view.text import printable
from queuectl.web.access import HAS_TOKEN
from queuectl.web.endpoints import as_json, site_of

_MAX_AGE, _MAX_DEAD, _MIN_FREE = "max_age", "max_dead", "min_free"
NO_METRICS = (
    "metrics need packages that are not installed: in a clone of queuectl, run "
    "`pip install '.[metrics]'`\n"
)


def healthz(request: Request) -> Response:
    """Answer 200 if the queue is healthy, or 503 and the reasons, one a line.

    A client without the token does not get the reasons, which name paths and jobs, nor can it set
    limits: with a few of them it would find out how many jobs are dead and how full the disk is.
    """
    limits = _limits(request)
    site = site_of(request)
    has_token = request.scope.get(HAS_TOKEN, True)
    if not has_token and request.query_params:
        return PlainTextResponse("limits need the token\n", 401)
    seen = health.observe_all(site.queue.path) if has_token else site.health.observe()
    reasons = health.judge(seen, limits)
    status = 503 if reasons else 200
    if "application/json" in request.headers.get("accept", ""):
        found = health.document(seen, reasons) if has_token else {"healthy": not reasons}
        return as_json(found, status)
    if not has_token and reasons:
        return PlainTextResponse("unhealthy: send the token to see the reasons\n", status)
    lines = [f"{found.check}: {found.reason}" for found in reasons] or ["healthy"]
    return PlainTextResponse("\n".join(lines) + "\n", status)


def metrics(request: Request) -> Response:
    """Return the metrics of the queue; 501 if the extra `metrics` is not installed."""
    try:
        from queuectl.view import metrics as exporter
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        return PlainTextResponse(NO_METRICS, 501)
    text = exporter.render(site_of(request).queue.path, strict=False)
    return Response(text, media_type=exporter.CONTENT_TYPE)


def _limits(request: Request) -> health.Limits:
    """Read the limits in the address, which are those of `queuectl health`. Raises InvalidInput."""
    given = request.query_params
    known = (_MAX_AGE, _MAX_DEAD, _MIN_FREE)
    if unknown := set(given) - {*known, "token"}:
        raise InvalidInput(
            f"unknown limit '{printable(min(unknown))}'; choose from {', '.join(known)}"
        )
    most = given.get(_MAX_DEAD)
    if most is not None and not (most.isascii() and most.isdigit() and len(most) < 19):
        raise InvalidInput(f"{_MAX_DEAD} must be a whole number, not {most!r}")
    return health.limits(
        given.get(_MAX_AGE), None if most is None else int(most), given.get(_MIN_FREE, "1%")
    )

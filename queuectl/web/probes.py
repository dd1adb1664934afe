"""What machines ask: `/healthz` for probes, `/metrics` for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from queuectl import health
from queuectl.web.site import site_of


def healthz(request: Request) -> Response:
    """Say whether the queue is well: 200, or 503 and why, one reason a line."""
    _, reasons = health.examine(site_of(request).queue.path, health.Limits())
    lines = [f"{found.check}: {found.reason}" for found in reasons] or ["healthy"]
    text = "\n".join(lines) + "\n"
    return PlainTextResponse(text, 503 if reasons else 200)


def metrics(request: Request) -> Response:
    """Return the queue's gauges; 501 if the extra that makes them is not installed."""
    try:
        from queuectl import metrics as made
    except ModuleNotFoundError:
        words = "metrics need their extra: pip install 'queuectl-spool[metrics]'\n"
        return PlainTextResponse(words, 501)
    return Response(made.render(site_of(request).queue.path), media_type=made.CONTENT_TYPE)

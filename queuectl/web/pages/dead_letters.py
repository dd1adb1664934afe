"""The dead letters: their list, and how to retry or remove many of them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue
from queuectl.web.background import Steps
from queuectl.web.endpoints import Form, see_other
from queuectl.web.pages.lists import listing
from queuectl.web.rendering import error_message
from queuectl.web.site import Site

_PATH = "/dead"


def dead(request: Request, site: Site) -> Response:
    """List the dead jobs."""
    return listing(request, site, "dead.html", "dead", "dead")


def retry_selected(_: Request, site: Site, form: Form) -> Response:
    """Retry the selected jobs."""
    if not (ids := form.get("id", [])):
        raise InvalidInput("no job is selected: select the jobs to retry")
    return _retry(site, ids)


def retry_all(_: Request, site: Site, __: Form) -> Response:
    """Retry all dead jobs."""
    return _retry(site, site.queue.ids("dead"))


def purge(_: Request, site: Site, form: Form) -> Response:
    """Remove the jobs that died long enough ago, with their logs, for good."""
    age = parse_duration(form.get("older_than", [""])[0].strip() or "0")
    if form.get("sure") != ["yes"]:
        raise InvalidInput("removal cannot be undone: tick the box to confirm it")
    site.tasks.start("Removing dead jobs", "removed", _removed(site.queue, age))
    return see_other(_PATH)


def _retry(site: Site, ids: Iterable[str]) -> Response:
    site.tasks.start("Retrying", "moved back to pending", _retried(site.queue, ids))
    return see_other(_PATH)


def _retried(queue: Queue, ids: Iterable[str]) -> Steps:
    for job_id in ids:
        try:
            queue.retry(job_id, exact=True)
        except (QueuectlError, OSError) as error:
            yield error_message(error)
        else:
            yield 1


def _removed(queue: Queue, age: float) -> Steps:
    yield from queue.removing("dead", age)

"""What can be done with many dead letters at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starlette.requests import Request
from starlette.responses import Response

from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.queue import Queue
from queuectl.spool.purge import purge as purge_places
from queuectl.view.status import newest
from queuectl.web.page import error_message
from queuectl.web.site import Form, Site, see_other

_PAGE = "/dead"


def retry_selected(_: Request, site: Site, form: Form) -> Response:
    """Put the ticked ones back to pending."""
    if not (ids := form.get("id", [])):
        raise InvalidInput("tick the jobs that are to run again")
    return _retry(site, ids)


def retry_all(_: Request, site: Site, __: Form) -> Response:
    """Put all back to pending."""
    return _retry(site, [place.id for place in newest(site.queue.spool.reader, "dead")])


def purge(_: Request, site: Site, form: Form) -> Response:
    """Remove those that died long enough ago, with their logs, for good."""
    age = parse_duration(form.get("older_than", [""])[0].strip() or "0")
    if form.get("sure") != ["yes"]:
        raise InvalidInput("removing is for good: tick that you are sure")
    site.chores.run("Removing dead jobs", "removed", _purged(site.queue, age))
    return see_other(_PAGE)


def _retry(site: Site, ids: Iterable[str]) -> Response:
    site.chores.run("Putting back", "put back to pending", _retried(site.queue, ids))
    return see_other(_PAGE)


def _retried(queue: Queue, ids: Iterable[str]) -> Iterator[int | str]:
    for job_id in ids:
        try:
            queue.retry(job_id)
        except (QueuectlError, OSError) as error:
            yield error_message(error)
        else:
            yield 1


def _purged(queue: Queue, age: float) -> Iterator[int]:
    for place in queue.spool.reader.older("dead", age):
        yield purge_places(queue.spool, [place])
    queue.spool.disk.commit(queue.spool.layout.states["dead"])

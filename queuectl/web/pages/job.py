"""One job: its record, history and log, and how to cancel or retry it.

The id in an address is exact, never a prefix: a change must not reach another job, and a bookmark
of a removed job must not show one.
"""

from __future__ import annotations

import contextlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from queuectl.errors import AmbiguousId, NoSuchJob
from queuectl.view import output
from queuectl.view.status import JobStatus
from queuectl.web import logtext
from queuectl.web.endpoints import Form, as_json, notice, number, see_other, wants_json
from queuectl.web.rendering import job_address
from queuectl.web.site import Site

_MAX_RECORD_CHARS = 200_000
_MAX_HISTORY = 200
_MAX_ATTEMPT = 10**9


def job(request: Request, site: Site) -> Response:
    """Show a job."""
    job_id = request.path_params["job_id"]
    try:
        status = site.queue.get(job_id, exact=True)
    except NoSuchJob:
        return _missing(request, site, job_id)
    newest = site.queue.newest_attempt(status.id)
    attempt = number(request.query_params.get("attempt"), newest, _MAX_ATTEMPT)
    if attempt > newest:
        raise NoSuchJob(f"job {status.id} has no attempt {attempt} (the newest is {newest})")
    if wants_json(request):
        return as_json(status.to_json())
    return _job_page(request, site, status, newest, attempt)


def _job_page(
    request: Request, site: Site, status: JobStatus, newest: int, attempt: int
) -> Response:
    text, offset, left_out, problem = "", 0, 0, ""
    if attempt:
        path = site.queue.log_path(status.id, attempt, exact=True)
        if not (problem := output.problem(path)):
            text, offset, left_out = logtext.last_part(path)
    record = msgspec.json.format(msgspec.json.encode(status.to_dict()), indent=2).decode()
    history = status.job.history if status.job else []
    return site.renderer.render(
        "job.html",
        nav="jobs",
        counts=site.counts(),
        status=status,
        job=status.job,
        newest=newest,
        attempt=attempt,
        chosen="attempt" in request.query_params,
        running=status.state == "processing" and attempt == newest,
        log=text,
        offset=offset,
        left_out=left_out,
        log_problem=problem,
        record=record[:_MAX_RECORD_CHARS],
        alive=bool(history) or any(worker.alive for worker in site.queue.workers()),
        history=history[-_MAX_HISTORY:],
        history_left_out=max(0, len(history) - _MAX_HISTORY),
        notice=notice(request),
    )


def _missing(request: Request, site: Site, job_id: str) -> Response:
    """Answer that a job does not exist, and name the only job whose id begins with this one."""
    message, other = f"Job {job_id} does not exist.", None
    with contextlib.suppress(NoSuchJob, AmbiguousId):
        other = site.queue.get(job_id).id
        message += " The id of one other job begins with it."
    return site.renderer.error_page(request.scope, 404, "Not found", message, job_id=other)


def log(request: Request, site: Site) -> Response:
    """Send a whole log, unchanged, as a file to save, so that no browser shows it as a page."""
    job_id = request.path_params["job_id"]
    attempt = number(request.path_params["attempt"], 0, _MAX_ATTEMPT, lowest=0)
    path = site.queue.log_path(job_id, attempt, exact=True)  # raises NoSuchJob, also for attempt 0
    if problem := output.problem(path):
        raise NoSuchJob(problem)
    return StreamingResponse(
        site.queue.read_log(job_id, attempt),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{job_id}.{attempt}.log"',
        },
    )


def cancel(request: Request, site: Site, _: Form) -> Response:
    """Cancel a job."""
    job_id = request.path_params["job_id"]
    state = site.queue.cancel(job_id, exact=True)
    return see_other(job_address(job_id), "asked" if state == "processing" else "cancelled")


def retry(request: Request, site: Site, _: Form) -> Response:
    """Run a dead job again, or a failed job now."""
    job_id = request.path_params["job_id"]
    return see_other(job_address(site.queue.retry(job_id, exact=True)), "retried")

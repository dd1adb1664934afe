"""One job: its record, its history, its log; and what can be done with it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from queuectl.errors import InvalidInput, NoSuchJob
from queuectl.record.ids import check_id
from queuectl.view import output
from queuectl.view.status import JobStatus
from queuectl.web import logtext
from queuectl.web.page import segment
from queuectl.web.site import Form, Site, said, see_other, whole

_MOST_RECORD_CHARS = 200_000
_MOST_HISTORY = 200
_MOST_ATTEMPTS = 10**9


def job(request: Request, site: Site) -> Response:
    """Show a job; under a prefix of its id, go to where it is."""
    status = site.queue.get(request.path_params["job_id"])
    if status.id != request.path_params["job_id"]:
        return RedirectResponse(address(status.id), 303)
    newest = newest_attempt(site, status)
    wanted = whole(request.query_params.get("attempt"), newest, _MOST_ATTEMPTS)
    if wanted > newest:
        raise NoSuchJob(f"job {status.id} has had no attempt {wanted} (it has had {newest})")
    text, offset, left_out = "", 0, 0
    if newest:
        text, offset, left_out = logtext.last_part(site.queue.spool.layout.log(status.id, wanted))
    record = msgspec.json.format(msgspec.json.encode(status.to_dict()), indent=2).decode()
    history = status.job.history if status.job else []
    return site.pages.render(
        "job.html",
        nav="jobs",
        counts=site.numbers(),
        status=status,
        job=status.job,
        newest=newest,
        attempt=wanted,
        chosen="attempt" in request.query_params,
        running=status.state == "processing" and wanted == newest,
        log=text,
        offset=offset,
        left_out=left_out,
        record=record[:_MOST_RECORD_CHARS],
        history=history[-_MOST_HISTORY:],
        history_left_out=max(0, len(history) - _MOST_HISTORY),
        said=said(request),
    )


def log(request: Request, site: Site) -> Response:
    """Give a whole log, as it is, to be saved: never shown as a page of ours."""
    job_id = check_id(request.path_params["job_id"])
    number = whole(request.path_params["attempt"], 1, _MOST_ATTEMPTS)
    path = site.queue.log_path(job_id, number)
    return StreamingResponse(
        output.read(path),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{job_id}.{number}.log"',
        },
    )


def newest_attempt(site: Site, status: JobStatus) -> int:
    """Return the number of a job's newest attempt, the one that runs included; 0 if none."""
    claims = site.queue.spool.reader.claims_of(status.id) if status.state == "processing" else []
    over = len(status.job.history) if status.job else 0
    return max([place.attempt for place in claims] + [over])


def cancel(request: Request, site: Site, _: Form) -> Response:
    """Cancel a job."""
    job_id = request.path_params["job_id"]
    state = site.queue.cancel(job_id)
    return see_other(address(job_id), "asked" if state == "processing" else "cancelled")


def retry(request: Request, site: Site, _: Form) -> Response:
    """Run a dead job again, or a failed one now."""
    return see_other(address(site.queue.retry(request.path_params["job_id"])), "retried")


def address(job_id: str) -> str:
    """Return the address of a job's page. Raises InvalidInput for what is no id."""
    if not job_id:
        raise InvalidInput("which job?")
    return f"/jobs/{segment(job_id)}"

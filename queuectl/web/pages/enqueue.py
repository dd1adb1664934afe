"""The forms that enqueue jobs: a shell command with its fields, or JSON."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from queuectl import clock
from queuectl.errors import IdTaken, InvalidInput, InvalidJob
from queuectl.record.job import build
from queuectl.record.submission import read_jobs
from queuectl.web.endpoints import Form, as_json, see_other, wants_json
from queuectl.web.rendering import job_address, shown
from queuectl.web.site import Site

FIELDS = (
    *("command", "id", "priority", "delay", "run_at", "max_retries", "timeout", "cwd", "env"),
    "json",
)
_INVALID, _CONFLICT = 400, 409
_MAX_LISTED = 20


def enqueue_form(request: Request, site: Site) -> Response:
    """Show the empty forms."""
    return _page(request, site, {}, {})


def enqueue(request: Request, site: Site, form: Form) -> Response:
    """Enqueue a shell command with its fields."""
    given = _given(form)
    errors: dict[str, str] = {}
    fields = _fields(given, errors)
    if errors:
        return _page(request, site, given, errors, _INVALID)
    try:
        return see_other(job_address(site.queue.submit(build(fields))))
    except IdTaken as error:
        return _page(request, site, given, {"id": str(error)}, _CONFLICT)
    except InvalidJob as error:
        field = error.field if error.field in FIELDS else "command"
        return _page(request, site, given, {field or "command": str(error)}, _INVALID)


def enqueue_json(request: Request, site: Site, form: Form) -> Response:
    """Enqueue jobs from JSON: one object, an array, or one object a line. All or none."""
    given = _given(form)
    try:
        lines = given["json"].encode().splitlines(keepends=True)
        if not (jobs := list(read_jobs(lines))):
            raise InvalidInput("nothing to enqueue: the text contains no job")
        ids = site.queue.submit_many(jobs)
    except (IdTaken, InvalidInput) as error:
        status = _CONFLICT if isinstance(error, IdTaken) else _INVALID
        return _page(request, site, given, {"json": str(error)}, status)
    except UnicodeEncodeError:
        return _page(request, site, given, {"json": "the text is not valid UTF-8"}, _INVALID)
    if len(ids) == 1 and not wants_json(request):
        return see_other(job_address(ids[0]))
    return _page(request, site, {}, {}, enqueued=ids)


def _given(form: Form) -> dict[str, str]:
    """Return what was typed into each field; browsers send line ends as CR LF."""
    return {name: form.get(name, [""])[0].replace("\r\n", "\n") for name in FIELDS}


def _fields(given: dict[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Make the fields of a job from what was typed; add what is not valid to `errors`."""
    fields: dict[str, Any] = {"command": given["command"].strip()}
    if not fields["command"]:
        errors["command"] = "the command is empty"
    for name in ("id", "cwd"):
        fields[name] = given[name].strip() or None
    readers = {
        "priority": _integer,
        "max_retries": _integer,
        "timeout": clock.parse_duration,
        "delay": clock.parse_duration,
        "run_at": clock.parse_moment,
        "env": _environment,
    }
    for name, read in readers.items():
        if text := given[name].strip():
            try:
                fields[name] = read(text)
            except InvalidInput as error:
                errors[name] = str(error)
    delay, moment = fields.pop("delay", None), fields.pop("run_at", None)
    if delay is not None and moment is not None:
        errors["delay"] = "give a delay or a time, not both"
    moment = clock.now() + delay if delay is not None else moment
    if moment is not None:
        fields["run_at"] = clock.format_timestamp(moment)
    return fields


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a whole number") from None


def _environment(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.split("\n") if line.strip()]
    for name, sign, _ in pairs:
        if not sign:
            raise InvalidInput(f"{name!r} is not KEY=VALUE: write one variable a line")
    return {name.strip(): value for name, _, value in pairs}


def _page(
    request: Request,
    site: Site,
    given: dict[str, str],
    errors: dict[str, str],
    status: int = 200,
    enqueued: list[str] | None = None,
) -> Response:
    if errors and wants_json(request):
        return as_json({"error": "; ".join(map(shown, errors.values()))}, status)
    if wants_json(request):
        return as_json({"ids": enqueued or []})
    return site.renderer.render(
        "enqueue.html",
        status,
        nav="enqueue",
        counts=site.counts(),
        given={name: given.get(name, "") for name in FIELDS},
        errors=errors,
        enqueued=len(enqueued or []),
        listed=(enqueued or [])[:_MAX_LISTED],
        max_retries=site.queue.last_good_settings.max_retries,
    )

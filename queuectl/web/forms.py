"""The forms: enqueue, and the settings. What is wrong is said beside the field it is in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from queuectl import clock
from queuectl.errors import IdTaken, InvalidInput, InvalidJob, InvalidSetting, NotJson
from queuectl.record.job import Job, build, decode
from queuectl.record.settings import describe
from queuectl.web.job_page import address
from queuectl.web.site import Form, Site, said, see_other

FIELDS = (
    *("command", "id", "priority", "delay", "run_at", "max_retries", "timeout", "cwd", "env"),
    "json",
)
_BAD, _TAKEN = 400, 409
_MOST_LISTED = 20


def enqueue_form(__: Request, site: Site) -> Response:
    """Show the empty forms."""
    return _enqueue_page(site, {}, {})


def enqueue(__: Request, site: Site, form: Form) -> Response:
    """Enqueue a shell command with its fields."""
    given = _given(form)
    errors: dict[str, str] = {}
    fields = _fields(given, errors)
    if errors:
        return _enqueue_page(site, given, errors, _BAD)
    try:
        return see_other(address(site.queue.submit(build(fields))))
    except IdTaken as error:
        return _enqueue_page(site, given, {"id": str(error)}, _TAKEN)
    except InvalidJob as error:
        field = error.field if error.field in FIELDS else "command"
        return _enqueue_page(site, given, {field: str(error)}, _BAD)


def enqueue_json(__: Request, site: Site, form: Form) -> Response:
    """Enqueue jobs as JSON: one object, an array of them, or one a line. All or none."""
    given = _given(form)
    try:
        ids = site.queue.submit_many(list(_jobs(given.get("json", "").encode())))
    except (IdTaken, InvalidInput) as error:
        status = _TAKEN if isinstance(error, IdTaken) else _BAD
        return _enqueue_page(site, given, {"json": str(error)}, status)
    except UnicodeEncodeError:
        return _enqueue_page(site, given, {"json": "not UTF-8"}, _BAD)
    if len(ids) == 1:
        return see_other(address(ids[0]))
    return _enqueue_page(site, {}, {}, enqueued=ids)


def settings(request: Request, site: Site) -> Response:
    """Show the settings."""
    return _settings_page(site, said=said(request))


def change_setting(request: Request, site: Site, form: Form) -> Response:
    """Set a setting, or go back to its default."""
    key = request.path_params["key"]
    text = form.get("value", [""])[0].replace("\r\n", "\n").strip()
    try:
        if "default" in form or (not text and _may_be_none(key)):
            site.queue.unset_setting(key)
            return see_other("/settings", "default")
        if not text:
            raise InvalidSetting(f"{key} wants a value")
        site.queue.set_setting(key, text)
    except InvalidSetting as error:
        if key not in describe():
            raise
        return _settings_page(site, errors={key: str(error)}, given={key: text}, status=_BAD)
    return see_other("/settings", "saved")


# -- inside ----------------------------------------------------------------------------------


def _given(form: Form) -> dict[str, str]:
    """Take what was typed; browsers send the ends of lines as CR LF."""
    return {name: form.get(name, [""])[0].replace("\r\n", "\n") for name in FIELDS}


def _fields(given: dict[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Make the fields of a job out of what was typed; what cannot be read goes to `errors`."""
    fields: dict[str, Any] = {"command": given["command"].strip()}
    if not fields["command"]:
        errors["command"] = "what is to be run?"
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
        errors["delay"] = "delay and time exclude each other"
    moment = clock.now() + delay if delay is not None else moment
    if moment is not None:
        fields["run_at"] = clock.format_timestamp(moment)
    return fields


def _may_be_none(key: str) -> bool:
    info = describe().get(key)
    return info is not None and info.default is None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a whole number") from None


def _environment(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.split("\n") if line.strip()]
    for name, sign, _ in pairs:
        if not sign:
            raise InvalidInput(f"one KEY=VALUE a line, not {name!r}")
    return {name.strip(): value for name, _, value in pairs}


def _jobs(data: bytes) -> Iterator[Job]:
    """Read jobs; InvalidJob says in which line, or which of the array's items."""
    if not data.strip():
        raise InvalidJob("what is to be enqueued?")
    if data.lstrip().startswith(b"["):
        try:
            pieces = [bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw])]
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidJob(f"not a JSON array: {error}") from None
        what = "item"
    else:
        try:
            yield decode(data)
            return
        except NotJson:
            pieces, what = data.splitlines(), "line"
            if len(pieces) == 1:
                raise
    for number, piece in enumerate(pieces, 1):
        if piece.strip():
            try:
                yield decode(piece)
            except InvalidJob as error:
                raise InvalidJob(f"{what} {number}: {error}; nothing is enqueued") from None


def _enqueue_page(
    site: Site,
    given: dict[str, str],
    errors: dict[str, str],
    status: int = 200,
    enqueued: list[str] | None = None,
) -> Response:
    return site.pages.render(
        "enqueue.html",
        status,
        nav="enqueue",
        counts=site.numbers(),
        given={name: given.get(name, "") for name in FIELDS},
        errors=errors,
        enqueued=len(enqueued or []),
        listed=(enqueued or [])[:_MOST_LISTED],
        max_retries=site.queue.spool.settings.last_good.max_retries,
    )


def _settings_page(
    site: Site,
    *,
    errors: dict[str, str] | None = None,
    given: dict[str, str] | None = None,
    said: str = "",
    status: int = 200,
) -> Response:
    trouble = ""
    try:
        values = site.queue.setting_values()
    except InvalidSetting as error:  # somebody has broken the file by hand
        values, trouble = {}, str(error)
    return site.pages.render(
        "settings.html",
        status,
        nav="settings",
        counts=site.numbers(),
        infos=list(describe().values()),
        values={name: _text(value) for name, value in values.items()},
        defaults={info.name: _text(info.default) for info in describe().values()},
        errors=errors or {},
        given=given or {},
        trouble=trouble,
        said=said,
        path=site.queue.spool.layout.settings,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""The settings, and how to change them. An error is shown beside its setting."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from queuectl.errors import InvalidSetting
from queuectl.record.settings import describe
from queuectl.web.endpoints import Form, notice, see_other
from queuectl.web.site import Site

_PATH = "/settings"
_INVALID = 400


def settings(request: Request, site: Site) -> Response:
    """Show the settings."""
    return _page(site, said=notice(request))


def change_setting(request: Request, site: Site, form: Form) -> Response:
    """Set a setting, or reset it to its default."""
    key = request.path_params["key"]
    text = form.get("value", [""])[0].replace("\r\n", "\n").strip()
    try:
        if "default" in form or (not text and _may_be_none(key)):
            site.queue.unset_setting(key)
            return see_other(_PATH, "default")
        if not text:
            raise InvalidSetting(f"{key} must not be empty")
        site.queue.set_setting(key, text)
    except InvalidSetting as error:
        if key not in describe():
            raise
        return _page(site, errors={key: str(error)}, given={key: text}, status=_INVALID)
    return see_other(_PATH, "saved")


def _may_be_none(key: str) -> bool:
    info = describe().get(key)
    return info is not None and info.default is None


def _page(
    site: Site,
    *,
    errors: dict[str, str] | None = None,
    given: dict[str, str] | None = None,
    said: str = "",
    status: int = 200,
) -> Response:
    values, problem = {}, ""
    try:
        values = site.queue.setting_values()
        _ = site.queue.settings
    except InvalidSetting as error:  # someone has edited the file, and it is not valid
        problem = str(error)
    return site.renderer.render(
        "settings.html",
        status,
        nav="settings",
        counts=site.counts(),
        infos=list(describe().values()),
        values={name: _text(value) for name, value in values.items()},
        defaults={info.name: _text(info.default) for info in describe().values()},
        errors=errors or {},
        given=given or {},
        problem=problem,
        notice=said,
        path=site.queue.settings_path,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

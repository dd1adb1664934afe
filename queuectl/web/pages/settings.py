"""The settings, and how to change them. An error is shown beside its setting."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from queuectl.errors import InvalidSetting
from queuectl.record.settings import describe
from queuectl.web.endpoints import Form, notice, see_other
from queuectl.web.rendering import NOTICES
from queuectl.web.site import Site

_PATH = "/settings"
_INVALID = 400


def settings(request: Request, site: Site) -> Response:
    """Show the settings."""
    return _page(site, said=notice(request))


def change_settings(_: Request, site: Site, form: Form) -> Response:
    """Save each setting that differs from what the page had shown, or reset one of them.

    What cannot be saved stays in its field. A reset leaves the other fields as they are.
    """
    shown = {key: _given(form, f"was-{key}") for key in describe() if f"was-{key}" in form}
    edited = {key: text for key, was in shown.items() if (text := _given(form, key)) != was}
    if resets := form.get("default", []):
        site.queue.unset_setting(resets[0])
        edited.pop(resets[0], None)
        return _page(site, given=edited, said=NOTICES["default"]) if edited else _saved("default")
    errors: dict[str, str] = {}
    for key, text in edited.items():
        try:
            _change(site, key, text)
        except InvalidSetting as error:
            errors[key] = str(error)
    if errors:
        return _page(site, errors=errors, given=edited, status=_INVALID)
    return _saved("saved")


def change_setting(request: Request, site: Site, form: Form) -> Response:
    """Set a setting, or reset it to its default."""
    key, text = request.path_params["key"], _given(form, "value")
    try:
        if "default" in form:
            site.queue.unset_setting(key)
            return _saved("default")
        _change(site, key, text)
    except InvalidSetting as error:
        if key not in describe():
            raise
        return _page(site, errors={key: str(error)}, given={key: text}, status=_INVALID)
    return _saved("saved")


def _change(site: Site, key: str, text: str) -> None:
    if text:
        site.queue.set_setting(key, text)
    elif _may_be_none(key):
        site.queue.unset_setting(key)
    else:
        raise InvalidSetting(f"{key} must not be empty")


def _saved(what: str) -> Response:
    return see_other(_PATH, what)


def _given(form: Form, name: str) -> str:
    return form.get(name, [""])[0].replace("\r\n", "\n").strip()


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

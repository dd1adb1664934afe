"""The settings of a queue: their types, defaults, ranges and meanings."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, InvalidSetting
from queuectl.record.retry import RetryPolicy

FORMAT = 1
"""The format of a spool that this version reads and writes."""
_FOREVER = 1e9  # seconds, 31 years: a finite bound, so that no deadline overflows


Seconds = Annotated[float, Meta(ge=0, le=_FOREVER, extra_json_schema={"duration": True})]


_CHARACTER = r"[^\0\ud800-\udfff]"  # that can be written as UTF-8 and given to a program


Command = Annotated[str, Meta(pattern=rf"^(?=\s*\S){_CHARACTER}+$")]


SomeSeconds = Annotated[float, Meta(gt=0, le=_FOREVER, extra_json_schema={"duration": True})]


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of a spool. Durations are seconds here; in the file also "10m", "7d"."""

    max_retries: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        Meta(description="retries of a failed job after its first attempt"),
    ] = 3
    backoff_base: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        Meta(description="a retry waits backoff_base ** n seconds after the n-th failure"),
    ] = 2
    backoff_max: Annotated[Seconds, Meta(description="the longest wait before a retry")] = 86400
    backoff_jitter: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        Meta(description="the part of a wait that is drawn by lot, so that jobs spread out"),
    ] = 0
    timeout: Annotated[SomeSeconds | None, Meta(description="end an attempt after so long")] = None
    kill_grace: Annotated[Seconds, Meta(description="time between SIGTERM and SIGKILL")] = 10
    rescan_interval: Annotated[
        Annotated[float, Meta(ge=0.1, le=3600, extra_json_schema={"duration": True})],
        Meta(description="how often workers look at the directories without being told"),
    ] = 5
    quiet_period: Annotated[
        Seconds, Meta(description="how long a file that is no job must be left alone to be bad")
    ] = 2
    fsync: Annotated[
        bool, Meta(description="force every step to disk; false is faster and not durable")
    ] = True
    keep_done: Annotated[
        SomeSeconds | None, Meta(description="remove completed jobs after so long")
    ] = None
    keep_dead: Annotated[SomeSeconds | None, Meta(description="remove dead jobs after so long")] = (
        None
    )

    keep_done_count: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="keep so many completed jobs, the newest"),
    ] = None
    keep_dead_count: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="keep so many dead jobs, the newest"),
    ] = None
    on_done: Annotated[Command | None, Meta(description="run this when a job has completed")] = None
    on_dead: Annotated[Command | None, Meta(description="run this when a job was given up on")] = (
        None
    )
    on_idle: Annotated[
        Command | None, Meta(description="run this when, after work, nothing is left to do")
    ] = None
    hook_timeout: Annotated[SomeSeconds, Meta(description="end one of these after so long")] = 60

    @property
    def retry_policy(self) -> RetryPolicy:
        """The settings that decide over retries."""
        return RetryPolicy(
            self.max_retries, self.backoff_base, self.backoff_max, self.backoff_jitter
        )


class SettingInfo(Struct, frozen=True):
    """What is to be known of one setting."""

    name: str
    default: Any
    meaning: str
    allowed: str
    is_duration: bool
    is_text: bool


@functools.cache
def describe() -> dict[str, SettingInfo]:
    """Return what is to be known of each setting, made from the types."""
    (_,), parts = msgspec.json.schema_components([Settings], ref_template="{name}")
    infos = {}
    for name, spec in parts["Settings"]["properties"].items():
        kind = spec["anyOf"][0] if "anyOf" in spec else spec
        duration = kind.get("duration", False)
        infos[name] = SettingInfo(
            name,
            spec["default"],
            spec["description"],
            _allowed(kind, duration),
            duration,
            kind["type"] == "string",
        )
    return infos


def setting_named(key: str) -> SettingInfo:
    """Return what is to be known of a setting. Raises InvalidSetting, naming the nearest."""
    infos = describe()
    if key in infos:
        return infos[key]
    from difflib import get_close_matches

    near = get_close_matches(key, infos, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(infos)}"
    raise InvalidSetting(f"no setting is called {key!r}: {hint}")


def template() -> str:
    """Return the text of a new spool's `queue.toml`: every setting, as a comment."""
    lines = [
        "# Settings of this queue. Change them here, or with `queuectl config set KEY VALUE`;",
        '# running workers take them up at once. Durations are seconds, or "10m", "7d".',
        f"format = {FORMAT}",
        "",
    ]
    for info in describe().values():
        shown = "..." if info.default is None else msgspec.json.encode(info.default).decode()
        lines.append(f"# {f'{info.name} = {shown}':<24}# {info.meaning}")
    return "\n".join(lines) + "\n"


def check(values: Mapping[str, Any]) -> Settings:
    """Make settings of what a file says. Raises InvalidSetting."""
    if not values:
        return Settings()
    infos = describe()
    plain = {}
    for key, value in values.items():
        if setting_named(key).is_duration and isinstance(value, str):
            try:
                value = parse_duration(value)
            except InvalidInput as error:
                raise InvalidSetting(f"{key}: {error}") from None
        plain[key] = value
    try:
        return msgspec.convert(plain, Settings)
    except msgspec.ValidationError as error:
        key = str(error).partition("`$.")[2].rstrip("`")
        raise InvalidSetting(
            f"{key} must be {infos[key].allowed}, not {shown(values[key])}"
            if key in infos
            else str(error)
        ) from None


def shown(value: Any) -> str:
    """Return a value as an error message shows it."""
    try:
        return repr(value)[:100]
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "so long a number"


def _allowed(kind: Mapping[str, Any], duration: bool) -> str:
    if kind["type"] == "boolean":
        return "true or false"
    if kind["type"] == "string":
        return "a shell command"
    noun = "a whole number" if kind["type"] == "integer" else "a number"
    if duration:
        noun = "a duration (seconds, or 30s, 10m, 7d)"
    if "exclusiveMinimum" in kind:
        return f"{noun} above {kind['exclusiveMinimum']:.10g}"
    if kind.get("maximum", _FOREVER) < _FOREVER:
        return f"{noun} from {kind['minimum']:.10g} to {kind['maximum']:.10g}"
    return f"{noun} of at least {kind['minimum']:.10g}"

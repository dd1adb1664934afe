"""The settings of a spool: their types, defaults, ranges and meanings."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from queuectl.clock import parse_duration
from queuectl.errors import InvalidInput, InvalidSetting
from queuectl.record.retry import RetryPolicy
from queuectl.record.size import parse_size
from queuectl.record.wording import shown

FORMAT = 1
"""The format of a spool that this version reads and writes."""
_FOREVER = 1e9  # seconds, 31 years: a finite bound, so that no deadline overflows


Seconds = Annotated[float, Meta(ge=0, le=_FOREVER, extra_json_schema={"duration": True})]


_CHARACTER = r"[^\0\ud800-\udfff]"  # UTF-8 can encode it, and a program can be given it


Command = Annotated[str, Meta(pattern=rf"^(?=\s*\S){_CHARACTER}+$")]


_LARGEST = 1 << 50  # bytes, a petabyte


Size = Annotated[int, Meta(ge=1, le=_LARGEST, extra_json_schema={"size": True})]


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
    backoff_max: Annotated[Seconds, Meta(description="longest wait before a retry")] = 86400
    backoff_jitter: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        Meta(description="shorten each backoff by a random fraction of up to this, 0 to 1"),
    ] = 0
    timeout: Annotated[
        SomeSeconds | None, Meta(description="kill an attempt that runs longer than this")
    ] = None
    output_max: Annotated[
        Size | None, Meta(description="kill an attempt that prints more than this")
    ] = None
    kill_grace: Annotated[Seconds, Meta(description="time between SIGTERM and SIGKILL")] = 10
    rescan_interval: Annotated[
        Annotated[float, Meta(ge=0.1, le=3600, extra_json_schema={"duration": True})],
        Meta(description="time between full scans of the directories"),
    ] = 5
    quiet_period: Annotated[
        Seconds,
        Meta(description="how long an invalid file must be unchanged before it is moved to dead/"),
    ] = 2
    fsync: Annotated[
        bool, Meta(description="force each step to disk; false is faster and not durable")
    ] = True
    keep_done: Annotated[
        SomeSeconds | None, Meta(description="remove completed jobs older than this")
    ] = None
    keep_dead: Annotated[
        SomeSeconds | None, Meta(description="remove dead jobs older than this")
    ] = None

    keep_done_count: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="keep only the newest N completed jobs"),
    ] = None
    keep_dead_count: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="keep only the newest N dead jobs"),
    ] = None
    on_done: Annotated[Command | None, Meta(description="hook to run when a job has completed")] = (
        None
    )
    on_dead: Annotated[Command | None, Meta(description="hook to run when a job is dead")] = None
    on_idle: Annotated[
        Command | None, Meta(description="hook to run when, after some work, no job is left to run")
    ] = None
    hook_timeout: Annotated[
        SomeSeconds, Meta(description="kill a hook that runs longer than this")
    ] = 60

    @property
    def retry_policy(self) -> RetryPolicy:
        """The settings that decide about retries."""
        return RetryPolicy(
            self.max_retries, self.backoff_base, self.backoff_max, self.backoff_jitter
        )


class SettingInfo(Struct, frozen=True):
    """What faces show of one setting."""

    name: str
    default: Any
    meaning: str
    allowed: str
    is_duration: bool
    is_size: bool
    is_text: bool


@functools.cache
def describe() -> dict[str, SettingInfo]:
    """Describe each setting, made from the types."""
    (_,), parts = msgspec.json.schema_components([Settings], ref_template="{name}")
    infos = {}
    for name, spec in parts["Settings"]["properties"].items():
        kind = spec["anyOf"][0] if "anyOf" in spec else spec
        duration, size = kind.get("duration", False), kind.get("size", False)
        infos[name] = SettingInfo(
            name,
            spec["default"],
            spec["description"],
            "a size of at least 1 byte (bytes, or 500K, 10M, 2G)"
            if size
            else _allowed(kind, duration),
            duration,
            size,
            kind["type"] == "string",
        )
    return infos


def setting_named(key: str) -> SettingInfo:
    """Describe a setting. Raises InvalidSetting, which names the nearest one."""
    infos = describe()
    if key in infos:
        return infos[key]
    from difflib import get_close_matches

    near = get_close_matches(key, infos, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(infos)}"
    raise InvalidSetting(f"unknown setting {shown(key)}; {hint}", key=key)


def defaults() -> dict[str, Any]:
    """Return the default of every setting."""
    return {name: info.default for name, info in describe().items()}


def template() -> str:
    """Return the text of a new spool's `queue.toml`: every setting, as a comment."""
    lines = [
        "# Settings of this queue. Change them here, or with `queuectl config set KEY VALUE`;",
        '# running workers read the change at once. Durations: seconds, or "10m"; sizes: "10M".',
        f"format = {FORMAT}",
        "",
    ]
    for info in describe().values():
        shown = "..." if info.default is None else msgspec.json.encode(info.default).decode()
        lines.append(f"# {f'{info.name} = {shown}':<24}# {info.meaning}")
    return "\n".join(lines) + "\n"


def check(values: Mapping[str, Any]) -> Settings:
    """Make settings from the values of a settings file. Raises InvalidSetting."""
    if not values:
        return Settings()
    plain = {key: _as_number(setting_named(key), value) for key, value in values.items()}
    try:
        return msgspec.convert(plain, Settings)
    except msgspec.ValidationError as error:
        key = str(error).partition("`$.")[2].rstrip("`")  # all that is taken of its sentence
        raise _wrong(describe()[key], values[key], plain[key]) from None


def _as_number(info: SettingInfo, value: Any) -> Any:
    """Return seconds for a duration, and bytes for a size."""
    if not isinstance(value, str):
        return value
    if info.is_size and (size := parse_size(value)) is not None:
        return size
    if not info.is_duration:
        return value
    try:
        return parse_duration(value)
    except InvalidInput as error:
        raise InvalidSetting(f"{info.name}: {error}", key=info.name) from None


def _wrong(info: SettingInfo, value: Any, number: Any) -> InvalidSetting:
    most, unit = (_LARGEST, " bytes") if info.is_size else (_FOREVER, " seconds")
    must = info.allowed
    if type(number) in (int, float) and number > most and " from " not in info.allowed:
        must = f"at most {most:.0f}{unit if info.is_size or info.is_duration else ''}"
    return InvalidSetting(f"{info.name} must be {must}, not {shown(value)}", key=info.name)


def _allowed(kind: Mapping[str, Any], duration: bool) -> str:
    if kind["type"] == "boolean":
        return "true or false"
    if kind["type"] == "string":
        return "a shell command"
    noun, units = ("a whole number" if kind["type"] == "integer" else "a number"), ""
    if duration:
        noun, units = "a duration", " (seconds, or 30s, 10m, 7d)"
    least, most = kind.get("minimum", 0), kind.get("maximum", _FOREVER)
    if "exclusiveMinimum" in kind:
        return f"{noun} greater than {kind['exclusiveMinimum']:.10g}{units}"
    if most < _FOREVER:
        return f"{noun} from {least:.10g} to {most:.10g}{units}"
    return f"{noun} of at least {least:.10g}{units}"

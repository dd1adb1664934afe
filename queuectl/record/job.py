"""The job record and its codec: pure, no I/O, no clock.

A record is read twice from the same bytes: into typed fields, which are checked, and into
the raw JSON text of each key. A change replaces the text of the keys that it names and leaves all
others as they were written. So the other keys of a submitter (nested, with numbers that no float
can hold) come through every rewrite unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Raw, Struct

from queuectl.clock import is_timestamp, parse_timestamp
from queuectl.errors import InvalidJob, NotJson
from queuectl.record.ids import ID_PATTERN, is_id
from queuectl.record.job_errors import (
    MUST_BE,
    explain,
    explain_hidden,
    wrong_entry,
    wrong_field,
)
from queuectl.record.wording import json_problem, shown

MAX_JOB_BYTES = 1 << 20
"""The size limit of what a submitter writes: see `_size`. With what we add, a record is larger."""
MAX_RECORD_BYTES = 16 << 20
"""The most that is ever read of a record with its history: about 40,000 attempts."""
_MAX_INDENTED_BYTES = 4 << 20
MAX_DEPTH = 100
"""Levels of nesting that every reader and writer of JSON can handle."""
MAX_ERROR_CHARS = 1000

State = Literal["pending", "processing", "completed", "failed", "dead"]
STATES: tuple[State, ...] = get_args(State)
Outcome = Literal["ok", "failed", "timeout", "lost", "cancelled", "interrupted"]


JobId = Annotated[str, Meta(pattern=f"^{ID_PATTERN}$")]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


def _about(text: str) -> Meta:
    return Meta(description=text)


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt at a job: an entry of its `history`."""

    attempt: Annotated[int, Meta(ge=0), _about("the attempt's number; its log is ID.ATTEMPT.log")]
    outcome: Annotated[Outcome, _about("how the attempt ended")]
    exit_code: Annotated[
        int | None, _about("the command's exit status, if it exited by itself")
    ] = None
    signal: Annotated[str | None, _about("the signal that killed the command, such as SIGKILL")] = (
        None
    )
    error: Annotated[str | None, _about("what went wrong, in words")] = None
    worker: Annotated[str | None, _about("the worker that ran the attempt")] = None
    host: Annotated[str | None, _about("the host that the attempt ran on")] = None
    started_at: Annotated[Timestamp | None, _about("when the command was started")] = None
    finished_at: Annotated[
        Timestamp | None, _about("when the worker saw that the command had ended")
    ] = None
    log: Annotated[str | None, _about("path of the output, relative to the spool")] = None


class JobFields(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The job file: one JSON object. Any other key is kept as it is."""

    id: Annotated[
        JobId | None, _about("the job's id; if absent, the file's name without `.json`")
    ] = None
    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)],
        _about("a string is run by `/bin/sh -c`; an array is executed as it is, without a shell"),
    ]
    priority: Annotated[
        int,
        Meta(ge=-(2**63), le=2**63 - 1),
        _about("higher runs first; equal priorities run oldest first"),
    ] = 0
    run_at: Annotated[
        Timestamp | None,
        _about("the job does not run before this time; the worker sets it for a retry"),
    ] = None
    max_retries: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _about("retries after the first attempt; if absent, the setting `max_retries`"),
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        _about("seconds after which an attempt is killed and counts as failed"),
    ] = None
    cwd: Annotated[
        Annotated[str, Meta(pattern="^/")] | None,
        _about("absolute path of the directory to run in; if absent, the worker's own"),
    ] = None
    env: Annotated[
        dict[str, str] | None, _about("environment variables added to the worker's own")
    ] = None
    created_at: Annotated[
        Timestamp | None,
        _about("when the job was submitted; for a dropped file, its modification time"),
    ] = None
    updated_at: Annotated[Timestamp | None, _about("when queuectl last wrote the record")] = None
    attempts: Annotated[
        int,
        Meta(ge=0),
        _about("attempts finished since the job was submitted or last retried by hand"),
    ] = 0
    history: Annotated[list[Attempt], _about("one entry for each attempt, oldest first")] = []


_DEFAULTS: Mapping[str, Any] = {"priority": 0, "attempts": 0, "history": []}

FIELDS: tuple[str, ...] = JobFields.__struct_fields__
SUBMITTER_FIELDS: tuple[str, ...] = FIELDS[: FIELDS.index("created_at")]
_NOT_MEASURED = frozenset(FIELDS) - frozenset(SUBMITTER_FIELDS) | {"id", "run_at"}


class Job(JobFields, frozen=True, kw_only=True):
    """A job record. `raw` holds the JSON text of every key as it was read or last changed."""

    raw: dict[str, Raw]

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        """Read a job from JSON text, checked as a job file is. Raises NotJson, InvalidJob."""
        return decode(text.encode(errors="surrogateescape") if isinstance(text, str) else text)

    @property
    def next_attempt(self) -> int:
        """The number of the next attempt; numbers are never used again."""
        return len(self.history) + 1

    def is_due(self, now: float) -> bool:
        """Whether the job may run at a time, in seconds since the epoch."""
        return self.run_at is None or parse_timestamp(self.run_at) <= now

    @property
    def last_attempt(self) -> Attempt | None:
        """The newest entry of the history."""
        return self.history[-1] if self.history else None

    def evolve(self, **changes: Any) -> Job:
        """Return the record with some fields changed; None removes a field."""
        raw = dict(self.raw)
        for key, value in changes.items():
            if value is None:
                raw.pop(key, None)
                changes[key] = _DEFAULTS.get(key)
            else:
                raw[key] = Raw(msgspec.json.encode(value))
        return msgspec.structs.replace(self, raw=raw, **changes)

    def with_attempt(self, entry: Attempt, **changes: Any) -> Job:
        """Return the record with one more history entry; the older ones keep their text."""
        older = msgspec.json.decode(self.raw["history"], type=list[Raw]) if self.history else []
        raw = {**self.raw, "history": Raw(msgspec.json.encode([*older, entry]))}
        grown = msgspec.structs.replace(self, raw=raw, history=[*self.history, entry])
        return grown.evolve(**changes)

    def encode(self) -> bytes:
        """Return the file's bytes: indented, our keys first and in their order."""
        ours = {key: self.raw[key] for key in FIELDS if key in self.raw}
        data = msgspec.json.encode({**ours, **self.raw})
        indented = msgspec.json.format(data, indent=2)
        if len(indented) > _MAX_INDENTED_BYTES:  # deep nesting can make it a hundred times as long
            return msgspec.json.format(data, indent=-1) + b"\n"
        return indented + b"\n"


_decode_fields = msgspec.json.Decoder(JobFields).decode
_decode_raw = msgspec.json.Decoder(dict[str, Raw]).decode


def decode(data: bytes) -> Job:
    """Read a job record from a file's bytes.

    Raises NotJson if the bytes are not a JSON object, InvalidJob if the object breaks the rules
    of the job file.
    """
    raw = _split(data)
    raw.pop("state", None)
    for key in FIELDS:
        if bytes(raw.get(key, b"")) == b"null":
            del raw[key]  # as good as absent
    try:
        fields = _decode_fields(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(error, raw) from None
    if (size := _size(data, raw)) > MAX_JOB_BYTES:
        raise InvalidJob(f"the job has {size:,} bytes; a job file has at most {MAX_JOB_BYTES:,}")
    job = Job(**{name: getattr(fields, name) for name in FIELDS}, raw=raw)
    _check(job)
    return job


def build(fields: Mapping[str, Any]) -> Job:
    """Make a record from a mapping of Python values, checked as a file would be.

    A value of None is as good as absent. Raises InvalidJob.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        data = _to_json(given)
    except (TypeError, ValueError, RecursionError):
        raise _unwritable(given) from None
    return decode(data)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the job file, made from the types in this module."""
    _, parts = msgspec.json.schema_components([JobFields], ref_template="#/$defs/{name}")
    job = parts.pop("JobFields")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "queuectl job file, format 1",
        **{key: value for key, value in job.items() if key != "title"},
        "$defs": parts,
    }


_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of UTF-8 and UTF-16


def _split(data: bytes) -> dict[str, Raw]:
    """Return the JSON text of each key. Raises NotJson if the bytes are not a JSON object."""
    if data.startswith(_BYTE_ORDER_MARKS):
        raise NotJson("it begins with a byte order mark (BOM): save it as UTF-8 without one")
    try:
        data.decode()
        raw = _decode_raw(data)
        _refuse_depth(data)
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except msgspec.ValidationError:
        raise NotJson("not a JSON object") from None
    except msgspec.DecodeError as error:
        problem = f"not a JSON object: {json_problem(error)}" if data.strip() else "empty"
        raise NotJson(problem) from None
    return raw


def _size(data: bytes, raw: Mapping[str, Raw]) -> int:
    """Measure what the submitter wrote: without the white space and the fields that we may add.

    So a job that was accepted once is valid in each of its later records. The id and `run_at` do
    not count either, for we add them too.
    """
    if len(data) <= MAX_JOB_BYTES:
        return len(data)
    submitted = {name: value for name, value in raw.items() if name not in _NOT_MEASURED}
    return len(msgspec.json.format(msgspec.json.encode(submitted), indent=-1))


def _refuse_depth(data: bytes) -> None:
    """Refuse what is nested so deeply that it could be read here but not written elsewhere."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in re.findall(rb'"(?:[^"\\]|\\.)*"|[][{}]', data):
        depth += (bracket in (b"[", b"{")) - (bracket in (b"]", b"}"))
        if depth > MAX_DEPTH:
            raise RecursionError


def _refusal(error: Exception, raw: Mapping[str, Raw]) -> InvalidJob:
    try:
        _decode_fields(msgspec.json.encode(raw))
    except (msgspec.DecodeError, RecursionError) as last:
        return explain(last, raw)
    return explain_hidden(error)  # null, or a key given twice: `raw` has not that value


def _to_json(value: Any) -> bytes:
    # Not msgspec, which writes NaN as null.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _unwritable(fields: Mapping[str, Any]) -> InvalidJob:
    """Name the field whose value cannot be written as JSON."""
    for field, value in fields.items():
        try:
            _to_json(value)
        except (TypeError, ValueError, RecursionError):
            if isinstance(value, str):
                problem = f"{field} must be text that UTF-8 can encode, not {shown(value)}"
                return InvalidJob(problem, field=field)
            if field in MUST_BE:
                return wrong_field(field, shown(value))
            return InvalidJob(f"{field} has a value that cannot be written as JSON", field=field)
    return InvalidJob("the name of a field must be text that UTF-8 can encode")


def _check(job: JobFields) -> None:
    """Check what the types cannot say; raise InvalidJob."""
    if job.id is not None and not is_id(job.id):
        raise wrong_field("id", shown(job.id))
    words = [job.command] if isinstance(job.command, str) else job.command
    if not words[0].strip():
        raise InvalidJob("command must not be empty", field="command")
    for field, texts in (("command", words), ("cwd", [job.cwd or ""])):
        if any("\0" in text for text in texts):
            raise InvalidJob(f"{field} must not contain a NUL character", field=field)
    for key, value in (job.env or {}).items():
        if not key or "=" in key or "\0" in key:
            problem = f"env: {shown(key)} cannot be the name of an environment variable"
            raise InvalidJob(problem, field="env")
        if "\0" in value:
            problem = f"env: the value of {shown(key)} must not contain a NUL character"
            raise InvalidJob(problem, field="env")
    _check_times(job)


def _check_times(job: JobFields) -> None:
    for field in ("run_at", "created_at", "updated_at"):
        text = getattr(job, field)
        if text is not None and not is_timestamp(text):
            raise wrong_field(field, shown(text))
    for number, entry in enumerate(job.history):
        for key in ("started_at", "finished_at"):
            text = getattr(entry, key)
            if text is not None and not is_timestamp(text):
                raise wrong_entry(number, key, shown(text))

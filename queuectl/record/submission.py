"""Jobs as they are submitted: JSON read from a stream, and what is filled in for a new job.

The command line, the web page and the Python API all submit through this module, so that they take
the same input and give the same errors.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from queuectl.clock import LONGEST_DURATION, format_timestamp
from queuectl.errors import InvalidInput, InvalidJob, NotJson
from queuectl.record.job import FIELDS, SUBMITTER_FIELDS, Job, build, decode
from queuectl.record.wording import json_problem

_MEANT: Mapping[str, str] = {
    **dict.fromkeys(
        ("delay", "at", "run_after", "not_before", "scheduled_at", "start_at"), "run_at"
    ),
    **dict.fromkeys(
        ("retries", "retry", "max_attempts", "attempts_max", "max_tries"), "max_retries"
    ),
    **dict.fromkeys(("cmd", "program", "script"), "command"),
    **dict.fromkeys(("environment", "environ"), "env"),
    **dict.fromkeys(("dir", "directory", "workdir", "working_directory"), "cwd"),
    **dict.fromkeys(("time_limit", "max_time"), "timeout"),
}
"""The names that other queues have for a field of ours."""


def read_jobs(
    lines: Iterable[bytes], *, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Job]:
    """Read jobs: one JSON object a line, one JSON array, or one object over many lines.

    `lines` keep their line ends. `advance(n)` is called after each n bytes. Empty input gives no
    jobs. Raises InvalidJob, which names the line, or the item of the array.
    """
    numbered = enumerate(lines, 1)
    number, first = next(((n, line) for n, line in numbered if line.strip()), (0, b""))
    advance(len(first))
    if not number:
        return
    if first.lstrip().startswith(b"["):
        yield from _decode_each("item", enumerate(_array(first, numbered, advance), 1))
        return
    try:
        decode(first)
    except NotJson:
        rest = [line for _, line in numbered]
        whole = b"".join([first, *rest])
        with contextlib.suppress(NotJson):  # one object over many lines, as our own files are
            yield decode(whole)
            return
        numbered = enumerate(rest, number + 1)
    except InvalidJob:
        pass  # reported below, with its line
    for n, line in chain([(number, first)], numbered):
        if line.strip():
            yield from _decode_each("line", [(n, line)])
            advance(len(line))


def read_commands(
    lines: Iterable[bytes],
    *,
    make: Callable[[str], Job],
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Job]:
    """Read shell commands, one a line, and `make` a job of each; blank lines are left out.

    Raises InvalidJob, which names the line.
    """
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            try:
                yield make(text.decode(errors="surrogateescape"))
            except InvalidJob as error:
                raise InvalidJob(f"line {number}: {error}; nothing is enqueued") from None
        advance(len(line))


def is_json_array(text: str) -> bool:
    """Whether a text on a command line is meant as a JSON array of jobs.

    `[ -f x ] && y` is a shell command. So a text that is not JSON, perhaps because of a mistake in
    it, is an array only if an object is the first thing in it.
    """
    if not text.lstrip().startswith("["):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text.lstrip()[1:].lstrip().startswith("{")
    return True


@functools.lru_cache(1024)
def near_miss(key: str) -> str | None:
    """Return the field that was probably meant by an unknown key; None if there is none."""
    from difflib import get_close_matches

    plain = re.sub(r"([a-z])([A-Z])", r"\1_\2", key).replace("-", "_").replace(" ", "_").lower()
    near = get_close_matches(plain, SUBMITTER_FIELDS, n=1, cutoff=0.8)
    return _MEANT.get(plain) or (near[0] if near else None)


def job_from(fields: Mapping[str, Any], *, delay: float | None = None, now: float = 0.0) -> Job:
    """Make a job from Python values, checked as a file would be.

    With `delay`, in seconds from `now`, the job runs then. Raises InvalidInput, InvalidJob.
    """
    if delay is None:
        return build(fields)
    if fields.get("run_at") is not None:
        raise InvalidInput("give delay or run_at, not both")
    if not 0 <= delay <= LONGEST_DURATION:
        raise InvalidInput(
            f"delay must be a number of seconds from 0 to {LONGEST_DURATION:g}, not {delay}"
        )
    return build({**fields, "run_at": format_timestamp(now + delay)})


def submitted(job: Job, job_id: str, now: float) -> Job:
    """Return the record of a job submitted at a time, in seconds since the epoch.

    Fields that only queuectl writes are not taken from the submitter.
    """
    stamp = format_timestamp(now)
    ours = {name: None for name in FIELDS if name not in SUBMITTER_FIELDS}
    return job.evolve(**{**ours, "id": job_id, "created_at": stamp, "updated_at": stamp})


def _decode_each(what: str, pieces: Iterable[tuple[int, bytes]]) -> Iterator[Job]:
    for number, piece in pieces:
        try:
            yield decode(piece)
        except InvalidJob as error:
            raise InvalidJob(f"{what} {number}: {error}; nothing is enqueued") from None


def _array(
    first: bytes, numbered: Iterable[tuple[int, bytes]], advance: Callable[[int], None]
) -> list[bytes]:
    rest = b"".join(line for _, line in numbered)
    advance(len(rest))
    try:
        return [bytes(item) for item in msgspec.json.decode(first + rest, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError) as error:
        problem = json_problem(error)
        raise InvalidJob(f"not a JSON array: {problem}; nothing is enqueued") from None

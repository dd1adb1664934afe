"""What a storm left, judged: loss, overlap and repeats that nothing explains.

The evidence is of two kinds. The log is written by the jobs themselves, outside the spool, one
O_APPEND write a line: `begin`, `end`, or `overlap` from a job that found its own lock taken
(a flock that each job holds while anything of it lives: a detector that needs no log order).
The records are what stands in the spool's directories, read without queuectl.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from helpers.spool_files import STATE_DIRECTORIES

EXPLAINS_ANOTHER_RUN = {"failed", "timeout", "lost", "interrupted", "cancelled"}


class Line(NamedTuple):
    """One line of the jobs' log: what happened to which run of which job."""

    what: str
    tag: str
    attempt: int
    run: str


class Record(NamedTuple):
    """A job as it stands in the spool: its state and its history's outcomes by attempt."""

    state: str
    outcomes: Mapping[int, str]


class Verdict(NamedTuple):
    """Each kind of violation, one line of text for each found."""

    loss: list[str]
    overlap: list[str]
    repeat: list[str]

    @property
    def all(self) -> list[str]:
        """All of them, each with its kind."""
        return [f"{kind}: {text}" for kind in self._fields for text in getattr(self, kind)]


def read_log(path: Path) -> list[Line]:
    """Read the jobs' log; a line that was torn by a kill would be a mistake of the storm's."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        what, tag, attempt, run = text.split(" ")
        lines.append(Line(what, tag, int(attempt), run))
    return lines


def read_spool(root: Path) -> dict[str, list[Record]]:
    """Read every record of a spool by its tag; what is no job has none and is left out."""
    found: dict[str, list[Record]] = defaultdict(list)
    for state, directory in STATE_DIRECTORIES.items():
        for path in (root / directory).rglob("*.json"):
            if not path.is_file() or path.is_symlink():
                continue
            job = _parse(path.read_bytes())
            if job and "tag" in job:
                outcomes = {entry["attempt"]: entry["outcome"] for entry in job.get("history", [])}
                found[job["tag"]].append(Record(state, outcomes))
    return found


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        job = json.loads(data)
    except ValueError:
        return None
    return job if isinstance(job, dict) else None


def judge(
    submitted: Mapping[str, set[str]],
    log: Sequence[Line],
    records: Mapping[str, Sequence[Record]],
    *,
    may_run_again: Container[str] = (),
    are_removed: bool = False,
) -> Verdict:
    """Judge a storm that is over.

    `submitted` has for each acknowledged job, by its tag, the states in which it may end. Those of
    `may_run_again` were moved away while they ran, so that their outcome was not written. With
    `are_removed`, jobs that have run to their end may have been removed.
    """
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in log:
        lines[line.tag].append(line)
    verdict = Verdict([], [], [])
    for tag in {**submitted, **lines}:
        mine, found = lines.get(tag, []), records.get(tag, [])
        is_removed = are_removed and not found and any(line.what == "end" for line in mine)
        if not is_removed:
            verdict.loss.extend(_lost(tag, submitted.get(tag), mine, found))
        verdict.overlap.extend(_overlaps(tag, mine))
        if len(found) == 1 and tag not in may_run_again:
            verdict.repeat.extend(_repeats(tag, mine, found[0]))
    verdict.loss.extend(f"{tag} came from nowhere" for tag in records if tag not in submitted)
    return verdict


def _lost(
    tag: str, allowed: set[str] | None, lines: list[Line], found: Sequence[Record]
) -> Iterable[str]:
    if allowed is None:
        yield f"{tag} ran and was never submitted"
        return
    if len(found) != 1:
        yield f"{tag} stands {len(found)} times: {[record.state for record in found]}"
        return
    record = found[0]
    if record.state not in allowed:
        yield f"{tag} is {record.state} at the end, not one of {sorted(allowed)}"
    ended = {line.attempt for line in lines if line.what == "end"}
    for attempt, outcome in record.outcomes.items():
        if outcome == "ok" and attempt not in ended:
            yield f"{tag}: attempt {attempt} is ok and has written no end"
    if record.state == "completed" and "ok" not in record.outcomes.values():
        yield f"{tag} is completed without an attempt that was ok"


def _overlaps(tag: str, lines: list[Line]) -> Iterable[str]:
    open_run: str | None = None
    for line in lines:
        if line.what == "overlap":
            yield f"{tag}: {line.run} found the lock of an earlier run taken"
        elif line.what == "begin":
            open_run = line.run
        elif line.run != open_run:  # an end, after the begin of another run
            yield f"{tag}: {line.run} ended while {open_run} ran"


def _repeats(tag: str, lines: list[Line], record: Record) -> Iterable[str]:
    begun = Counter(line.attempt for line in lines if line.what == "begin")
    for attempt, times in begun.items():
        if times > 1:
            yield f"{tag}: attempt {attempt} was started {times} times"
        if attempt not in record.outcomes:
            yield f"{tag}: attempt {attempt} ran and is not in the history"
        for later in begun:
            outcome = record.outcomes.get(attempt)
            if later > attempt and outcome is not None and outcome not in EXPLAINS_ANOTHER_RUN:
                yield f"{tag}: attempt {later} ran although attempt {attempt} was {outcome}"

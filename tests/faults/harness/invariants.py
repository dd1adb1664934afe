"""What must hold after any fault, once recovery has run."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from queuectl.errors import InvalidJob
from queuectl.record.job import Job, decode
from queuectl.spool import integrity
from queuectl.spool.hook_recovery import Heir
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool, open_spool

PAYLOAD = b'{"n":1.10,"deep":[{"x":1e400},"\\u00e9"]}'
"""What a submitter put beside our fields, as it must come through everything."""

WHERE = {"pending": "pending", "failed": "failed", "done": "completed", "dead": "dead"}
BAD_DAMAGE = {"unreadable", "leftover claims"}


class Seen(NamedTuple):
    """A job's record, and the state in which it stands."""

    state: str
    job: Job
    path: str


def tag_of(job: Job) -> str:
    """Return the mark that tells a test's jobs apart, whatever their ids become."""
    return str(msgspec.json.decode(job.raw["tag"]))


def tags_of(records: Iterable[bytes]) -> set[str]:
    """Return the marks of those of some files' contents that are a test's jobs."""
    found = set()
    for record in records:
        with contextlib.suppress(InvalidJob, KeyError):
            found.add(tag_of(decode(record)))
    return found


def survey(root: Path) -> tuple[dict[str, list[Seen]], list[tuple[str, str]]]:
    """Read every job file of a spool, without queuectl's own listing; and what is torn."""
    seen: dict[str, list[Seen]] = defaultdict(list)
    torn = []
    for directory in (*WHERE, "processing"):
        for path in sorted((root / directory).rglob("*.json")):
            state = WHERE.get(directory, "processing")
            try:
                job = decode(path.read_bytes())
                seen[tag_of(job)].append(Seen(state, job, str(path)))
            except (InvalidJob, KeyError) as error:
                torn.append((str(path), str(error)))
    return seen, torn


def tree(root: Path) -> dict[str, bytes]:
    """Return every file of a spool with its bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in sorted(root.rglob("*"))
        if not path.is_symlink()
    }


def recovered(root: Path) -> Spool:
    """Open the spool and recover it as a worker would that starts: while claims are left."""
    spool = open_spool(str(root), create=True)
    recover_until(spool, lambda: not any(True for _ in spool.reader.claims()))
    return spool


def recover_until(spool: Spool, done: Callable[[], bool], heir: Heir | None = None) -> None:
    """Recover a spool as a worker does, which looks again and again, for at most five seconds.

    A dead worker's lock may be held for an instant more: by a command that was being started as
    it was killed, until its exec; or by whoever looks through the descriptors of all processes.
    """
    deadline = time.monotonic() + 5
    recover(spool, grace=0.5, draw=0.0, heir=heir)
    while not done() and time.monotonic() < deadline:
        recover(spool, grace=0.5, draw=0.0, heir=heir)


def violations(
    root: Path,
    *,
    allowed: Mapping[str, set[str]],
    not_jobs: Mapping[str, bytes],
) -> list[str]:
    """Recover a spool and return everything that then is not as it must be.

    `allowed` has for each job, by its tag, the states it may be in ("absent" among them);
    `not_jobs` the bytes of files that are no jobs and must stand somewhere, untouched.
    """
    before, torn = survey(root)
    wrong = _torn(torn, not_jobs)
    spool = recovered(root)
    after, torn = survey(root)
    wrong += _torn(torn, not_jobs)
    for tag, states in allowed.items():
        found = after.get(tag, [])
        if len(found) > 1:
            wrong.append(f"{tag} stands {len(found)} times: {[each.path for each in found]}")
        state = found[0].state if found else "absent"
        if state not in states:
            wrong.append(f"{tag} is {state}, not one of {sorted(states)}")
    for tag, found in after.items():
        if tag not in allowed:
            wrong.append(f"{tag} came from nowhere")
        wrong += [f"{tag}: payload changed" for each in found if not kept_payload(each.job)]
        wrong += _rerun(tag, before.get(tag, []), found)
    everything = list(tree(root).values())
    for name, data in not_jobs.items():
        if everything.count(data) != 1:
            wrong.append(f"the bytes of {name} stand {everything.count(data)} times")
    first = tree(root)
    recover(spool, grace=0.5, draw=0.0)
    if tree(root) != first:
        wrong.append("a second recovery changes something")
    for finding in integrity.check(spool, repair=False):
        if finding.damage in BAD_DAMAGE:
            wrong.append(f"check finds {finding.damage}: {finding.path}: {finding.problem}")
    return wrong


def kept_payload(job: Job) -> bool:
    """Whether it is as it was submitted, to the letter; only white space may differ."""
    return msgspec.json.format(bytes(job.raw["payload"]), indent=-1) == PAYLOAD


def _torn(torn: list[tuple[str, str]], not_jobs: Mapping[str, bytes]) -> list[str]:
    known = set(not_jobs.values())
    return [
        f"torn: {path}: {reason}" for path, reason in torn if Path(path).read_bytes() not in known
    ]


def _rerun(tag: str, before: list[Seen], after: list[Seen]) -> list[str]:
    """An outcome that was written stands, and nothing was entered beside it by recovery."""
    wrong = []
    written = max((len(old.job.history) for old in before), default=0)
    for old in before:
        if old.state != "processing" or not after:
            continue
        attempt = int(os.path.basename(old.path).rsplit(".", 2)[1])
        if len(old.job.history) >= attempt and len(after[0].job.history) != written:
            wrong.append(f"{tag}: its written outcome was followed by another")
    return wrong

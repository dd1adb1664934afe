"""Find what breaks an invariant of the spool, and mend what can be mended without losing a byte.

A spool is whole when every job is one file in one place, every record outside `pending/` can be
read, nobody dead holds a claim, nothing stands where it has no business and nothing is more
open than the spool itself. Workers may run meanwhile: what is seen twice is looked at again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from msgspec import Struct

from queuectl import clock
from queuectl.disk.reading import kind, same_file
from queuectl.errors import InvalidJob, QueuectlError
from queuectl.record.ids import is_id, numbered
from queuectl.record.job import State
from queuectl.spool import hook_markers, layout
from queuectl.spool.holder import dead_holders
from queuectl.spool.reader import UNCLAIMED, Place
from queuectl.spool.recovery import recover
from queuectl.spool.spool import Spool

Damage = Literal[
    "two places",
    "unreadable",
    "no reason",
    "leftover claims",
    "leftover",
    "stray",
    "mode",
    "orphan",
    "numbering",
]
_OURS = ("queue.toml", "queue.toml.lock")


class Finding(Struct, frozen=True):
    """One thing that is wrong, and what mends it; `remedy` is None where a person must decide."""

    damage: Damage
    path: str
    problem: str
    remedy: str | None = None
    mended: bool = False
    failure: str | None = None


_Fix = Callable[[], object]
_Found = Iterator[tuple[Finding, _Fix | None]]


def check(spool: Spool, *, repair: bool) -> list[Finding]:
    """Return all that is wrong with a spool; with `repair`, mend what has a remedy first."""
    findings = []
    for look in (_dead_holders, _places, _records, _strays, _orphans, _modes):
        for finding, fix in list(look(spool)):
            if repair and fix is not None:
                finding = _mend(finding, fix)
            findings.append(finding)
    return findings


def _mend(finding: Finding, fix: _Fix) -> Finding:
    about = (finding.damage, finding.path, finding.problem, finding.remedy)
    try:
        fix()
    except (OSError, QueuectlError) as error:
        return Finding(*about, failure=str(error))
    return Finding(*about, mended=True)


def _dead_holders(spool: Spool) -> _Found:
    """What the dead still hold: the work of any worker that starts, done now."""

    fix = partial(recover, spool, grace=spool.settings.last_good.kill_grace, draw=0.0)

    for name in list(dead_holders(spool, make_locks=False)):
        claims = [place.id for place in spool.claims(name)]
        if claims:
            yield (
                Finding(
                    "leftover claims",
                    spool.layout.claims(name),
                    f"{name} has died and holds {', '.join(sorted(claims))}",
                    "move its jobs on, as the next worker would",
                ),
                fix,
            )
        elif left := hook_markers.names(spool, name):
            problem = f"{name} has died with {len(left)} hooks to run; the next worker runs them"
            yield Finding("leftover", spool.layout.hooks(name), problem), None
        else:
            path = spool.layout.worker(name, "lock")
            problem = f"{name} has died and left its files"
            yield Finding("leftover", path, problem, "remove them"), fix


def _places(spool: Spool) -> _Found:
    """Jobs in two places. One still in `pending/` is none yet: the claim gives it a free id."""
    by_id: dict[str, list[Place]] = defaultdict(list)
    for place in _all_places(spool):
        if place.state != "pending":
            by_id[place.id].append(place)
        elif is_id(place.id):
            for later in spool.places(place.id):
                if later.path != place.path and same_file(later.path, place.path):
                    problem = f"is one file with {later.path}"
                    fix = partial(spool.disk.remove, place.path)
                    yield Finding("two places", place.path, problem, "remove this name"), fix
    for job_id, seen in by_id.items():
        if len(seen) < 2:
            continue
        here = [place for place in spool.places(job_id) if place.state != "pending"]
        for extra in here[:-1]:  # in the order of `places`: the latest state keeps the id
            if same_file(extra.path, here[-1].path):
                yield (
                    Finding(
                        "two places",
                        extra.path,
                        f"is one file with {here[-1].path}",
                        "remove the earlier name",
                    ),
                    partial(spool.disk.remove, extra.path),
                )
            elif extra.state == "processing":
                yield (
                    Finding("two places", extra.path, f"{here[-1].path} has the same id"),
                    None,
                )
            else:
                yield (
                    Finding(
                        "two places",
                        extra.path,
                        f"{here[-1].path} has the same id",
                        f"rename it to {numbered(job_id, 2)} or the next free number",
                    ),
                    partial(spool.renumber, extra),
                )


def _records(spool: Spool) -> _Found:
    """Records that cannot be read, and dead files without a reason."""
    for place in _all_places(spool):
        if place.state in ("pending", "processing") or not is_id(place.id):
            continue
        try:
            job, _ = spool.read(place.path)
        except FileNotFoundError:
            continue
        except (InvalidJob, OSError) as error:
            reason = str(error)
        else:
            numbers = [entry.attempt for entry in job.history]
            if numbers != [*range(1, len(numbers) + 1)]:
                problem = f"its attempts are numbered {numbers}"
                yield Finding("numbering", place.path, problem), None
            continue
        if place.state != "dead":
            yield (
                Finding("unreadable", place.path, reason, "move it to dead/, with the reason"),
                partial(spool.reject, place.path, reason, wanted=place.id),
            )
        elif not os.path.lexists(spool.layout.reason(place.id)):
            yield (
                Finding("no reason", place.path, reason, "write the reason beside it"),
                partial(spool.write_reason, place.id, reason),
            )


def _strays(spool: Spool) -> _Found:
    """Files where none belong. They may be anybody's: a person must decide."""
    paths = spool.layout
    known = {*_OURS, *(os.path.basename(directory) for directory in paths.directories)}
    for entry in os.scandir(paths.root):
        if entry.is_symlink() and entry.name in known:
            yield Finding("stray", entry.path, "is a symbolic link"), None
    for state, directory in paths.states.items():
        for entry in os.scandir(directory):
            if entry.is_symlink():
                yield Finding("stray", entry.path, "is a symbolic link"), None
            elif not _belongs(state, entry):
                try:
                    what = kind(entry.stat(follow_symlinks=False).st_mode)
                except FileNotFoundError:
                    continue
                yield Finding("stray", entry.path, f"no job's file ({what})"), None
    limit = clock.now() - layout.LEFTOVER_SECONDS
    for path in spool.leftovers():
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_mtime < limit:
                yield Finding("leftover", path, "was never published; workers sweep it"), None
    for name in spool.claimants():
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(paths.hooks(name)):
                if layout.parse_hook(file) is None:
                    yield Finding("stray", paths.hook(name, file), "no hook's marker"), None
    for directory in (paths.logs, paths.workers):
        for entry in os.scandir(directory):
            if entry.is_symlink():
                yield Finding("stray", entry.path, "is a symbolic link"), None
            elif directory == paths.workers and not layout.is_worker_file(entry.name):
                yield Finding("stray", entry.path, "no worker's file"), None


def _belongs(state: State, entry: os.DirEntry[str]) -> bool:
    name = entry.name
    if name.startswith("."):
        return state == "pending"  # a program's, or an editor's, until it is renamed
    if state == "processing":
        try:
            files = os.listdir(entry.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            return isinstance(error, FileNotFoundError)  # its worker has left
        return layout.is_worker(name) and all(map(layout.is_claim_name, files))
    if state == "dead" and name.endswith(".error"):
        return True
    return name.endswith(".json") and (state == "pending" or is_id(layout.stem(name)))


def _orphans(spool: Spool) -> _Found:
    """Logs and reasons whose job is gone. They are kept: only their reader knows their worth."""
    for name in os.listdir(spool.layout.logs):
        parts = layout.parse_log(name)
        path = spool.layout.in_logs(name)
        if parts is None:
            yield Finding("stray", path, "no attempt's log"), None
        elif not spool.places(parts[0]) and os.path.lexists(path):
            yield Finding("orphan", path, f"there is no job {parts[0]}"), None
    for name in os.listdir(spool.layout.states["dead"]):
        if name.endswith(".error") and not name.startswith("."):
            job = spool.layout.entry("dead", name.removesuffix(".error") + ".json")
            if not os.path.lexists(job):
                path = spool.layout.entry("dead", name)
                yield Finding("orphan", path, "is the reason of no job"), None


def _modes(spool: Spool) -> _Found:
    """Directories and files that are more open than the spool."""
    dropped = {spool.layout.states["pending"], spool.layout.states["dead"]}  # by anyone, as is
    for directory in spool.layout.directories:
        yield from _mode(directory, spool.dir_mode)
        for entry in os.scandir(directory) if directory not in dropped else ():
            yield from _mode(entry.path, spool.dir_mode)
    for name in spool.claimants():
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(spool.layout.claims(name)):
                yield from _mode(spool.layout.in_claims(name, file), spool.dir_mode)
            for file in hook_markers.names(spool, name):
                yield from _mode(spool.layout.hook(name, file), spool.dir_mode)
    for path in (spool.layout.settings, spool.layout.settings + ".lock"):
        yield from _mode(path, spool.dir_mode)


def _mode(path: str, allowed: int) -> _Found:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return  # a job that has moved on
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode) and mode & ~allowed & 0o777:
        fits = mode & (allowed | ~0o777)
    elif stat.S_ISREG(found.st_mode) and mode & ~(allowed & 0o666) & 0o077:
        fits = mode & ~0o077 | (mode & allowed & 0o066)
    else:
        return
    problem = f"mode {mode:03o} grants more than the spool's {allowed:03o}"
    yield Finding("mode", path, problem, f"chmod {fits:03o}"), partial(os.chmod, path, fits)


def _all_places(spool: Spool) -> Iterator[Place]:
    yield from spool.claims()
    for state in UNCLAIMED:
        for name in spool.names(state):
            yield Place(state, layout.stem(name), spool.layout.entry(state, name))

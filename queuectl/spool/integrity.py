"""Find what breaks an invariant of the spool, and repair what loses no byte by it.

A spool is intact when every job is one file in one place, every record outside `pending/` can be
read, no dead process holds a claim, every file is where it belongs, and nothing is more open than
the spool itself. Workers may run meanwhile: what is seen twice is looked at again.
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

from queuectl.disk.modes import change_mode
from queuectl.disk.reading import kind, same_file
from queuectl.errors import InvalidJob, InvalidSetting, QueuectlError
from queuectl.record.ids import is_id, numbered
from queuectl.record.job import State
from queuectl.spool import hook_markers, layout
from queuectl.spool.claims import free_id, name_to_remove
from queuectl.spool.holder import dead_holders
from queuectl.spool.places import UNCLAIMED, Place
from queuectl.spool.recovery import recover
from queuectl.spool.reject import reject, write_reason
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
    "settings",
]


class Finding(Struct, frozen=True):
    """One problem, and what repairs it; `remedy` is None where a person must decide.

    `failure` says why a repair has failed.
    """

    damage: Damage
    path: str
    problem: str
    remedy: str | None = None
    repaired: bool = False
    failure: str | None = None


_Repair = Callable[[], object]
_Found = Iterator[tuple[Finding, _Repair | None]]


def check(spool: Spool, *, repair: bool) -> list[Finding]:
    """Return all problems of a spool; with `repair`, after repairing those with a remedy.

    What recovery does with a job depends on the settings, so a repair raises InvalidSetting.
    """
    if repair:
        spool.load_settings()
    findings = []
    for look in (
        _settings,
        _dead_holders,
        _shared_files,
        _shared_ids,
        _records,
        _strays,
        _leftovers,
        _orphans,
        _modes,
    ):
        for finding, fix in list(look(spool)):
            if repair and fix is not None:
                finding = _repaired(finding, fix)
            findings.append(finding)
    return findings


def _settings(spool: Spool) -> _Found:
    try:
        spool.load_settings()
    except InvalidSetting as error:
        yield Finding("settings", spool.layout.settings, str(error)), None


def _repaired(finding: Finding, fix: _Repair) -> Finding:
    about = (finding.damage, finding.path, finding.problem, finding.remedy)
    try:
        fix()
    except (OSError, QueuectlError) as error:
        return Finding(*about, failure=str(error))
    return Finding(*about, repaired=True)


def _all_places(spool: Spool) -> Iterator[Place]:
    yield from spool.reader.claims()
    for state in UNCLAIMED:
        for name in spool.reader.names(state):
            yield Place(state, layout.stem(name), spool.layout.entry(state, name))


# -- holders and places ------------------------------------------------------------------------


def _dead_holders(spool: Spool) -> _Found:
    """Claims and files of dead workers: what the next worker would recover is recovered now."""
    fix = partial(recover, spool, grace=spool.settings.last_good.kill_grace, draw=0.0)
    for name in list(dead_holders(spool, make_locks=False)):
        claims = [place.id for place in spool.reader.claims(name)]
        if claims:
            problem = f"{name} has died and holds {', '.join(sorted(claims))}"
            remedy = "move its jobs on, as the next worker would"
            yield Finding("leftover claims", spool.layout.claims(name), problem, remedy), fix
        elif left := hook_markers.names(spool, name):
            problem = f"{name} has died with {len(left)} hooks to run; the next worker runs them"
            yield Finding("leftover", spool.layout.hooks(name), problem), None
        else:
            path = spool.layout.worker(name, "lock")
            problem = f"{name} has died and left its files"
            yield Finding("leftover", path, problem, "remove them"), fix


def _shared_files(spool: Spool) -> _Found:
    """Files in `pending/` that are a second name of a job elsewhere."""
    for name in spool.reader.names("pending"):
        if not is_id(layout.stem(name)):
            continue
        here = Place("pending", layout.stem(name), spool.layout.entry("pending", name))
        for later in spool.reader.places(here.id):
            if extra := name_to_remove(here, later):
                yield _second_name(spool, extra, later if extra == here else here)


def _shared_ids(spool: Spool) -> _Found:
    """Jobs with one id in two places. A file in `pending/` does not count: its claim gives it a
    free id.
    """
    by_id: dict[str, int] = defaultdict(int)
    for place in _all_places(spool):
        by_id[place.id] += place.state != "pending"
    for job_id in (job_id for job_id, count in by_id.items() if count > 1):
        here = [place for place in spool.reader.places(job_id) if place.state != "pending"]
        for extra in here[:-1]:  # in the order of `places`: the latest state keeps the id
            if found := _second_place(spool, extra, here[-1]):
                yield found


def _second_name(spool: Spool, extra: Place, kept: Place) -> tuple[Finding, _Repair]:
    problem = f"is the same file as {kept.path}"
    fix = partial(_remove_name, spool, extra, kept)
    return Finding("two places", extra.path, problem, "remove the earlier name"), fix


def _remove_name(spool: Spool, extra: Place, kept: Place) -> None:
    if name_to_remove(extra, kept) == extra:  # it may have moved since it was looked at
        spool.disk.remove(extra.path)


def _second_place(spool: Spool, extra: Place, kept: Place) -> tuple[Finding, _Repair | None] | None:
    if same_file(extra.path, kept.path):
        if (removed := name_to_remove(extra, kept)) is None:
            return None  # a running holder is moving it
        return _second_name(spool, removed, kept if removed == extra else extra)
    problem = f"{kept.path} has the same id"
    if extra.state == "processing":
        return Finding("two places", extra.path, problem), None
    remedy = f"rename it to {numbered(extra.id, 2)} or the next free number"
    return Finding("two places", extra.path, problem, remedy), partial(_renumber, spool, extra)


def _renumber(spool: Spool, place: Place) -> None:
    """Give an unclaimed job, whose id another job has too, the next free number."""
    job_id = free_id(place.id, place.path, spool.reader.places)
    spool.disk.publish(place.path, spool.layout.job(place.state, job_id))


# -- records -----------------------------------------------------------------------------------


def _records(spool: Spool) -> _Found:
    """Records that cannot be read, and dead files without a reason."""
    for place in _all_places(spool):
        if place.state in ("pending", "processing") or not is_id(place.id):
            continue
        try:
            job, _ = spool.reader.read(place.path)
        except FileNotFoundError:
            continue
        except InvalidJob as error:
            yield from _unreadable(spool, place, str(error))
            continue
        except OSError as error:  # the disk's trouble, or a mode: the file may be a valid job
            problem = f"cannot be read: {error.strerror}"
            yield Finding("unreadable", place.path, problem), None
            continue
        numbers = [entry.attempt for entry in job.history]
        if numbers != [*range(1, len(numbers) + 1)]:
            problem = f"its attempts are numbered {numbers}"
            yield Finding("numbering", place.path, problem), None


def _unreadable(spool: Spool, place: Place, reason: str) -> _Found:
    if place.state != "dead":
        fix: _Repair = partial(reject, spool, place.path, reason, wanted=place.id)
        remedy = "move it to dead/, with the reason"
        yield Finding("unreadable", place.path, reason, remedy), fix
    elif not os.path.lexists(spool.layout.reason(place.id)):
        fix = partial(write_reason, spool, place.id, reason)
        yield Finding("no reason", place.path, reason, "write the reason beside it"), fix


# -- files where none belong -------------------------------------------------------------------


def _strays(spool: Spool) -> _Found:
    """Files where none belong. They may be anybody's: a person must decide."""
    paths = spool.layout
    for entry in os.scandir(paths.root):
        if entry.is_symlink() and entry.name in paths.names_in_root:
            yield _stray(entry.path, "is a symbolic link")
    for state, directory in paths.states.items():
        yield from _strays_in(directory, partial(_belongs, state), "is not a job file")
    yield from _strays_in(paths.logs, lambda _: True, "")
    yield from _strays_in(
        paths.workers, lambda entry: layout.is_worker_file(entry.name), "is not a worker's file"
    )
    for name in spool.reader.claimants():
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(paths.hooks(name)):
                if layout.parse_hook(file) is None:
                    yield _stray(paths.hook(name, file), "is not a hook marker")


def _strays_in(directory: str, belongs: Callable[[os.DirEntry[str]], bool], problem: str) -> _Found:
    for entry in os.scandir(directory):
        if entry.is_symlink():
            yield _stray(entry.path, "is a symbolic link")
        elif not belongs(entry):
            with contextlib.suppress(FileNotFoundError):
                what = kind(entry.stat(follow_symlinks=False).st_mode)
                yield _stray(entry.path, problem if what == "a file" else f"{problem}, but {what}")


def _stray(path: str, problem: str) -> tuple[Finding, None]:
    return Finding("stray", path, problem), None


def _belongs(state: State, entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a state's directory may be there."""
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


def _leftovers(spool: Spool) -> _Found:
    """Files of writers that died; workers remove them."""
    for path in spool.reader.leftovers():
        yield Finding("leftover", path, "was never published; workers remove it"), None


def _orphans(spool: Spool) -> _Found:
    """Logs and reasons whose job is gone. They are kept: somebody may still want them."""
    for name in os.listdir(spool.layout.logs):
        parts = layout.parse_log(name)
        path = spool.layout.in_logs(name)
        if parts is None:
            yield _stray(path, "is not the log of an attempt")
        elif not spool.reader.places(parts[0]) and os.path.lexists(path):
            yield Finding("orphan", path, f"job {parts[0]} does not exist"), None
    for name in os.listdir(spool.layout.states["dead"]):
        if name.endswith(".error") and not name.startswith("."):
            job = spool.layout.entry("dead", name.removesuffix(".error") + ".json")
            if not os.path.lexists(job):
                path = spool.layout.entry("dead", name)
                yield Finding("orphan", path, "is the reason of a job that does not exist"), None


# -- modes -------------------------------------------------------------------------------------


def _modes(spool: Spool) -> _Found:
    """Directories and files that are more open than the spool."""
    dropped = {spool.layout.states["pending"], spool.layout.states["dead"]}  # by anyone, as is
    for directory in spool.layout.directories:
        yield from _mode(spool, directory)
        for entry in os.scandir(directory) if directory not in dropped else ():
            yield from _mode(spool, entry.path)
    for name in spool.reader.claimants():
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(spool.layout.claims(name)):
                yield from _mode(spool, spool.layout.in_claims(name, file))
            for file in hook_markers.names(spool, name):
                yield from _mode(spool, spool.layout.hook(name, file))
    for path in (spool.layout.settings, spool.layout.settings_lock):
        yield from _mode(spool, path)


def _mode(spool: Spool, path: str) -> _Found:
    allowed = spool.dir_mode
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
    problem = f"mode {mode:03o} grants more than the spool's mode {allowed:03o}"
    fix = partial(change_mode, spool.layout.root, path, found, fits)
    yield Finding("mode", path, problem, f"chmod {fits:03o}"), fix

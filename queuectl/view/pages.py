"""Many jobs, looked at a page at a time: sorted, searched, counted. It changes nothing.

A directory is listed again only when its mtime says that something came or went. Where there
are many files, only those that were not there before are looked at, by name and inode: at
100,000 jobs a first listing takes about 0.4 s, each further one 0.1 s. A record that queuectl
rewrites is a new file; but ext4 gives a freed inode out again at once, so a job that left and
came back between two listings may be taken for the one that was there. Then its place in the
order, and what a search knows of it, is that of its last visit; what is shown of it is not, for
that is always read afresh.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import msgspec
from msgspec import Raw, Struct

from queuectl import clock
from queuectl.disk.reading import read_regular
from queuectl.errors import InvalidInput
from queuectl.record.job import MAX_RECORD_BYTES, STATES, State
from queuectl.spool import layout
from queuectl.spool.places import ClaimedPlace, Place
from queuectl.spool.reader import Reader
from queuectl.view.status import JobStatus, job_status

Sort = Literal["changed", "created", "id", "priority", "attempts"]
SORTS: tuple[Sort, ...] = get_args(Sort)
MAX_PAGE = 500
MAX_SEARCHED_CHARS = 2000
"""How much of a command is searched."""

_MTIME_TICK = 0.1
"""Seconds: within a tick of the file system's clock a change may leave the mtime as it was."""
_REST = 3
"""A listing serves for this many times as long as it took: at most a quarter of a core goes to
it, and that only at very many jobs."""
_FEW_FILES = 5000
"""Up to so many files all are looked at: 15 ms, and no inode is trusted."""
_FEW = 2000
"""So many first entries are picked, not sorted out of all."""


class Entry(NamedTuple):
    """A job's file as it was listed: `changed` is its mtime in ns."""

    state: State
    name: str
    inode: int
    changed: int
    place: Place | None = None


class Query(Struct, frozen=True, kw_only=True):
    """What is to be seen: a state or all, whose id or command has the text, in which order."""

    state: State | None = None
    search: str = ""
    sort: Sort = "changed"
    descending: bool = True
    page: int = 1
    size: int = 50


class Page(Struct, frozen=True):
    """One page of the jobs that a query finds; `total` of them on `pages` pages."""

    jobs: list[JobStatus]
    total: int
    number: int
    pages: int


class _Digest(Struct, frozen=True, gc=False):
    """What sorting and searching need of a record."""

    text: str = ""
    priority: int = 0
    created: float = 0.0
    attempts: int = 0


class _Record(Struct, frozen=True):
    command: str | list[str] = ""
    priority: int = 0
    created_at: str | None = None
    history: list[Raw] = []


_decode = msgspec.json.Decoder(_Record).decode


class _Listing:
    """One state's directory as it was last listed."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        self.mtime: int | None = None
        self.rest_until = 0.0
        self.version = 0


class Browser:
    """Pages over a spool's jobs, for many readers at once."""

    def __init__(self, spool: Reader) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._listings: dict[State, _Listing] = {
            state: _Listing() for state in STATES if state != "processing"
        }
        self._digests: dict[Entry, _Digest] = {}
        self._found: dict[tuple[object, ...], list[Entry]] = {}
        self._arrived: deque[Entry] = deque(maxlen=200_000)
        self.is_fresh = True
        """Whether the last `counts` has asked every directory, and relied on no resting listing."""

    def counts(self) -> dict[State, int]:
        """Count the jobs of each state."""
        with self._lock:
            now = clock.monotonic()
            self.is_fresh = all(now >= each.rest_until for each in self._listings.values())
            return {
                state: len(self._listed(state).entries)
                if state in self._listings
                else sum(1 for _ in self._spool.claims())
                for state in STATES
            }

    def arrivals(self) -> list[Entry]:
        """Return what has come into a state since this was last asked, as far as it was seen."""
        with self._lock:
            arrived = list(self._arrived)
            self._arrived.clear()
        return arrived

    def page(self, query: Query) -> Page:
        """Return one page of what a query finds; the last one if there are fewer pages."""
        size = max(1, min(query.size, MAX_PAGE))
        with self._lock:
            candidates, version = self._candidates(query)
            pages = max(1, -(-len(candidates) // size))
            number = max(1, min(query.page, pages))
            first = (number - 1) * size
            shown = self._ordered(query, candidates, version, first + size)[first : first + size]
        seen = (job_status(self._spool, self._place(entry)) for entry in shown)
        return Page([status for status in seen if status], len(candidates), number, pages)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a listed file. Raises OSError, FileNotFoundError if it has moved."""
        return read_regular(self._place(entry).path, MAX_RECORD_BYTES)[0]

    # -- inside, with the lock held ----------------------------------------------------------

    def _place(self, entry: Entry) -> Place:
        path = self._spool.layout.entry(entry.state, entry.name)
        return entry.place or Place(entry.state, layout.stem(entry.name), path)

    def _candidates(self, query: Query) -> tuple[list[Entry], tuple[object, ...]]:
        states = [query.state] if query.state else list(STATES)
        entries = [entry for state in states for entry in self._entries(state)]
        version = tuple(self._listings[s].version for s in states if s in self._listings)
        text = query.search.strip().lower()
        if not text:
            return entries, version
        key = ("found", text, query.state, version)
        if key not in self._found or "processing" in states:
            found = [e for e in entries if text in e.name.lower() or text in self._digest(e).text]
            self._keep(key, found)
        return self._found[key], version

    def _ordered(
        self, query: Query, entries: list[Entry], version: tuple[object, ...], wanted: int
    ) -> list[Entry]:
        rank = self._rank(query.sort)
        if wanted > _FEW:
            key = ("ordered", query.state, query.search, query.sort, query.descending, version)
            if key not in self._found or len(self._found[key]) != len(entries):
                self._keep(key, sorted(entries, key=rank, reverse=query.descending))
            return self._found[key]
        pick = heapq.nlargest if query.descending else heapq.nsmallest
        return pick(wanted, entries, key=rank)

    def _keep(self, key: tuple[object, ...], entries: list[Entry]) -> None:
        while len(self._found) >= 8:
            del self._found[next(iter(self._found))]
        self._found[key] = entries

    def _rank(self, sort: Sort) -> Callable[[Entry], tuple[object, ...]]:
        match sort:
            case "changed":
                return lambda entry: (entry.changed, entry.name)
            case "id":
                return lambda entry: (entry.name,)
            case "created":
                return lambda entry: (self._digest(entry).created, entry.name)
            case "priority":
                return lambda entry: (self._digest(entry).priority, -entry.changed, entry.name)
            case "attempts":
                return lambda entry: (self._digest(entry).attempts, entry.changed, entry.name)

    def _digest(self, entry: Entry) -> _Digest:
        if entry.place is not None:
            return self._read(entry)
        if (known := self._digests.get(entry)) is None:
            known = self._digests[entry] = self._read(entry)
        return known

    def _read(self, entry: Entry) -> _Digest:
        try:
            record = _decode(self.read(entry))
            created = clock.parse_timestamp(record.created_at) if record.created_at else None
        except (OSError, msgspec.DecodeError, RecursionError, InvalidInput):
            return _Digest(created=entry.changed / 1e9)
        words = record.command
        text = (words if isinstance(words, str) else " ".join(words))[:MAX_SEARCHED_CHARS]
        created = entry.changed / 1e9 if created is None else created
        return _Digest(text.lower(), record.priority, created, len(record.history))

    def _entries(self, state: State) -> list[Entry]:
        if state == "processing":  # few, and each where it is for a short time: never kept
            return [_of_claim(place) for place in self._spool.claims()]
        return list(self._listed(state).entries.values())

    def _listed(self, state: State) -> _Listing:
        listing = self._listings[state]
        if clock.monotonic() >= listing.rest_until:
            self._list(state, listing)
        return listing

    def _list(self, state: State, listing: _Listing) -> None:
        before, started = clock.now(), clock.monotonic()
        mtime = os.stat(self._spool.layout.states[state]).st_mtime_ns
        if mtime == listing.mtime:
            return
        entries: dict[tuple[str, int], Entry] = {}
        careful = len(listing.entries) <= _FEW_FILES
        with os.scandir(self._spool.layout.states[state]) as found:
            for file in found:
                if not layout.is_job_name(file.name):
                    continue
                key = (file.name, file.inode())
                known = listing.entries.get(key)
                if known is None or careful:
                    with contextlib.suppress(FileNotFoundError):
                        changed = file.stat(follow_symlinks=False).st_mtime_ns
                        entries[key] = Entry(state, *key, changed)
                        if entries[key] != known:
                            self._arrived.append(entries[key])
                else:
                    entries[key] = known
        for key, known in listing.entries.items():
            if known != entries.get(key):
                self._digests.pop(known, None)
        listing.entries = entries
        listing.version += 1
        listing.mtime = mtime if mtime / 1e9 < before - _MTIME_TICK else None
        listing.rest_until = clock.monotonic() + (clock.monotonic() - started) * _REST


def _of_claim(place: ClaimedPlace) -> Entry:
    changed = 0
    with contextlib.suppress(FileNotFoundError):
        changed = os.lstat(place.path).st_mtime_ns
    return Entry("processing", place.id, place.attempt, changed, place)

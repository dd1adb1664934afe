"""Shows many jobs a page at a time: sorted, searched, counted. It changes nothing.

A directory is listed again only if its mtime says that a file came or went. In a large directory,
only files with a new name or inode are looked at: at 100,000 jobs the first listing takes about
0.4 s, each later one 0.1 s. When queuectl rewrites a record it makes a new file. But ext4 reuses a
freed inode at once, so a job that left and came back between two listings may seem unchanged. Then
it is sorted and searched by its earlier record; what is shown of it is always read again.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from sys import intern
from typing import Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.disk.reading import DirectoryStamp, directory_stamp, read_regular
from queuectl.errors import InvalidInput
from queuectl.record.job import MAX_RECORD_BYTES, STATES, State
from queuectl.spool import layout
from queuectl.spool.places import ClaimedPlace, Place
from queuectl.spool.reader import Reader
from queuectl.view.status import JobStatus, job_status

Sort = Literal["changed", "created", "id", "priority", "attempts", "next"]
SORTS: tuple[Sort, ...] = get_args(Sort)
"""The orders of a list; `next`, ascending, is that in which waiting jobs will run."""
MAX_PAGE = 500
MAX_SEARCHED_CHARS = 2000
"""A search looks at this much of a command."""
MOST_GROUPED = 5000
"""Of more jobs, those that changed last are grouped by reason: 0.1 s the first time."""
NO_REASON = "not a valid job"

_REST = 3
"""A listing is used for this many times as long as it took: listing takes at most a quarter of a
core, and that much only at very many jobs."""
_FEW_FILES = 5000
"""A directory with at most this many files is looked at in full: 15 ms, and no inode is trusted."""
_FEW_WANTED = 2000
"""At most this many entries are picked from all of them; for more, all are sorted."""
MAX_ARRIVALS = 500_000
"""Arrivals that are kept until somebody asks for them; of more, the newest."""
_MAX_RESULTS = 8
"""Searches and orders that are remembered."""


class Entry(NamedTuple):
    """A job's file as it was listed: `changed` is its mtime in ns."""

    state: State
    name: str
    inode: int
    changed: int
    place: Place | None = None


class Query(Struct, frozen=True, kw_only=True):
    """Which jobs to show: of one state or all, with a text in the id or command; and the order.

    A `reason` is how the last attempt failed, exactly as `Browser.reasons` says it.
    """

    state: State | None = None
    search: str = ""
    reason: str = ""
    sort: Sort = "changed"
    descending: bool = True
    page: int = 1
    size: int = 50


class Page(Struct, frozen=True):
    """One page of the jobs that a query finds: `total` jobs on `pages` pages."""

    jobs: list[JobStatus]
    total: int
    number: int
    pages: int


class _Digest(Struct, frozen=True, gc=False):
    """The part of a record that sorting and searching need."""

    text: str = ""
    priority: int = 0
    created: float = 0.0
    attempts: int = 0
    due: float = 0.0
    reason: str = ""


class _Ended(Struct, frozen=True):
    outcome: str = ""
    error: str | None = None


class _Record(Struct, frozen=True):
    command: str | list[str] = ""
    priority: int = 0
    created_at: str | None = None
    run_at: str | None = None
    attempts: int = 0
    history: list[_Ended] = []


_decode = msgspec.json.Decoder(_Record).decode


_Entries = dict[tuple[str, int], Entry]
"""The files of a directory by name and inode."""


class _Listing:
    """One state's directory as it was last listed."""

    def __init__(self) -> None:
        self.entries: _Entries = {}
        self.stamp: DirectoryStamp | None = None
        self.rest_until = 0.0
        self.version = 0


class Browser:
    """Pages of a spool's jobs. Safe to use from several threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._listings: dict[State, _Listing] = {
            state: _Listing() for state in STATES if state != "processing"
        }
        self._digests: dict[Entry, _Digest] = {}
        self._results: dict[tuple[object, ...], list[Entry]] = {}
        self._arrived: list[Entry] = []
        self.left_out = 0
        """The mtime, in ns, of the newest arrival that was left out of `arrivals`; else 0."""
        self.is_fresh = True
        """Whether the last `counts` looked at every directory, not at listings of a moment ago."""

    def counts(self) -> dict[State, int]:
        """Count the jobs of each state."""
        with self._lock:
            now = clock.monotonic()
            self.is_fresh = all(now >= each.rest_until for each in self._listings.values())
            return {
                state: len(self._listed(state).entries)
                if state in self._listings
                else sum(1 for _ in self._reader.claims())
                for state in STATES
            }

    def arrivals(self) -> list[Entry]:
        """Return the files that listings have found new in a state since the last call."""
        with self._lock:
            self._leave_out_arrivals()
            arrived, self._arrived = self._arrived, []
        return arrived

    def page(self, query: Query) -> Page:
        """Return one page of the jobs that a query finds; the last page if there are fewer."""
        size = max(1, min(query.size, MAX_PAGE))
        with self._lock:
            candidates, version = self._candidates(query)
            pages = max(1, -(-len(candidates) // size))
            number = max(1, min(query.page, pages))
            first = (number - 1) * size
            shown = self._ordered(query, candidates, version, first + size)[first : first + size]
        seen = (job_status(self._reader, self._place(entry)) for entry in shown)
        return Page([status for status in seen if status], len(candidates), number, pages)

    def find(
        self, query: Query, limit: int | None = None, states: Sequence[State] = STATES
    ) -> list[JobStatus]:
        """Return the jobs in some states that a query finds, at most `limit`: all of its pages."""
        pick = heapq.nlargest if query.descending else heapq.nsmallest
        with self._lock:
            entries = [entry for entry in self._candidates(query)[0] if entry.state in states]
            wanted = len(entries) if limit is None else limit
            shown = pick(wanted, entries, key=self._rank(query.sort))
        seen = (job_status(self._reader, self._place(entry)) for entry in shown)
        return [status for status in seen if status]

    def reasons(self, state: State) -> list[tuple[str, int]]:
        """Count the reasons of the jobs of a state that changed last, the most frequent first."""
        with self._lock:
            newest = heapq.nlargest(MOST_GROUPED, self._entries(state), key=lambda e: e.changed)
            found = Counter(self._digest(entry).reason for entry in newest)
        return [(reason, count) for reason, count in found.most_common() if reason]

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a listed file. Raises OSError; FileNotFoundError if it has moved."""
        return read_regular(self._place(entry).path, MAX_RECORD_BYTES)[0]

    # -- with the lock held ------------------------------------------------------------------

    def _place(self, entry: Entry) -> Place:
        path = self._reader.layout.entry(entry.state, entry.name)
        return entry.place or Place(entry.state, layout.stem(entry.name), path)

    def _candidates(self, query: Query) -> tuple[list[Entry], tuple[object, ...]]:
        states = [query.state] if query.state else list(STATES)
        entries = [entry for state in states for entry in self._entries(state)]
        version = tuple(self._listings[s].version for s in states if s in self._listings)
        text = query.search.strip().lower()
        if not (text or query.reason):
            return entries, version
        key = ("found", text, query.reason, query.state, version)
        if key not in self._results or "processing" in states:
            found = [
                each
                for each in entries
                if (text in each.name.lower() or text in self._digest(each).text)
                and (not query.reason or query.reason == self._digest(each).reason)
            ]
            self._keep(key, found)
        return self._results[key], version

    def _ordered(
        self, query: Query, entries: list[Entry], version: tuple[object, ...], wanted: int
    ) -> list[Entry]:
        rank = self._rank(query.sort)
        if wanted > _FEW_WANTED:
            key = (
                "ordered",
                query.state,
                query.search,
                query.reason,
                query.sort,
                query.descending,
                version,
            )
            if key not in self._results or len(self._results[key]) != len(entries):
                self._keep(key, sorted(entries, key=rank, reverse=query.descending))
            return self._results[key]
        pick = heapq.nlargest if query.descending else heapq.nsmallest
        return pick(wanted, entries, key=rank)

    def _keep(self, key: tuple[object, ...], entries: list[Entry]) -> None:
        while len(self._results) >= _MAX_RESULTS:
            del self._results[next(iter(self._results))]
        self._results[key] = entries

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
            case "next":
                now = clock.now()

                def turn(entry: Entry) -> tuple[object, ...]:
                    job = self._digest(entry)
                    due = job.due if job.due > now else 0.0
                    return due, -job.priority, job.created, entry.name

                return turn

    def _digest(self, entry: Entry) -> _Digest:
        if entry.place is not None:
            return self._read_digest(entry)
        if (known := self._digests.get(entry)) is None:
            known = self._digests[entry] = self._read_digest(entry)
        return known

    def _read_digest(self, entry: Entry) -> _Digest:
        try:
            record = _decode(self.read(entry))
            created, due = (
                clock.parse_timestamp(stamp) if stamp else None
                for stamp in (record.created_at, record.run_at)
            )
        except (OSError, msgspec.DecodeError, RecursionError, InvalidInput):
            return _Digest(created=entry.changed / 1e9, reason=NO_REASON)
        words = record.command
        text = (words if isinstance(words, str) else " ".join(words))[:MAX_SEARCHED_CHARS]
        created = entry.changed / 1e9 if created is None else created
        return _Digest(
            text.lower(),
            record.priority,
            created,
            record.attempts + (entry.place is not None),
            due or 0.0,
            _reason(record.history),
        )

    def _entries(self, state: State) -> list[Entry]:
        if state == "processing":  # few, and each is there only for a short time: never remembered
            return [_of_claim(place) for place in self._reader.claims()]
        return list(self._listed(state).entries.values())

    def _listed(self, state: State) -> _Listing:
        listing = self._listings[state]
        if clock.monotonic() >= listing.rest_until:
            self._list(state, listing)
        return listing

    def _list(self, state: State, listing: _Listing) -> None:
        """List a state's directory again, unless nothing can have changed there since."""
        started = clock.monotonic()
        stamp = directory_stamp(self._reader.layout.states[state])
        if stamp.confirms(listing.stamp):
            return
        entries = self._scan(state, listing.entries)
        for key, known in listing.entries.items():
            if known != entries.get(key):
                self._digests.pop(known, None)
        listing.entries = entries
        listing.version += 1
        listing.stamp = stamp
        listing.rest_until = clock.monotonic() + (clock.monotonic() - started) * _REST
        if len(self._arrived) > 2 * MAX_ARRIVALS:
            self._leave_out_arrivals()

    def _leave_out_arrivals(self) -> None:
        if len(self._arrived) > MAX_ARRIVALS:
            self._arrived.sort(key=lambda entry: entry.changed)
            old = self._arrived[:-MAX_ARRIVALS]
            self.left_out = max(self.left_out, old[-1].changed)
            del self._arrived[:-MAX_ARRIVALS]

    def _scan(self, state: State, before: _Entries) -> _Entries:
        """Read a state's directory, given what was there before, and note what has arrived."""
        entries: _Entries = {}
        trusts_inodes = len(before) > _FEW_FILES
        with os.scandir(self._reader.layout.states[state]) as found:
            for file in found:
                if not layout.is_job_name(file.name):
                    continue
                key = (file.name, file.inode())
                known = before.get(key)
                if known is not None and trusts_inodes:
                    entries[key] = known
                    continue
                with contextlib.suppress(FileNotFoundError):
                    changed = file.stat(follow_symlinks=False).st_mtime_ns
                    entries[key] = Entry(state, *key, changed)
                    if entries[key] != known:
                        self._arrived.append(entries[key])
        return entries


def _reason(history: list[_Ended]) -> str:
    if not history or history[-1].outcome == "ok":
        return ""
    return intern(history[-1].error or history[-1].outcome)


def _of_claim(place: ClaimedPlace) -> Entry:
    changed = 0
    with contextlib.suppress(FileNotFoundError):
        changed = os.lstat(place.path).st_mtime_ns
    return Entry("processing", place.id, place.attempt, changed, place)

"""Lists of jobs: state by state as people expect them, or all in one order."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.record.job import State
from queuectl.spool.places import WAITING
from queuectl.spool.reader import Reader
from queuectl.view.pages import Browser, Query, Sort
from queuectl.view.status import JobStatus, job_status, newest

_LARGEST_FIRST: tuple[Sort, ...] = ("changed", "created", "priority", "attempts")


def by_state(
    reader: Reader, states: Sequence[State], limit: int | None, search: str
) -> list[JobStatus]:
    """List jobs state by state: waiting ones as they will run, the others newest first.

    `search` is a text in the id or command. At most `limit` jobs are read in full.
    """
    found: list[JobStatus] = []
    browser = Browser(reader)
    for state in states:
        left = None if limit is None else limit - len(found)
        if left == 0:
            break
        if state in WAITING or search:
            sort: Sort = "next" if state in WAITING else "changed"
            query = Query(state=state, search=search, sort=sort, descending=sort != "next")
            found += browser.find(query, left)
        else:  # by name and time alone: only what is shown is read
            seen = (job_status(reader, place) for place in newest(reader, state, left))
            found += (status for status in seen if status is not None)
    return found


def in_order(
    reader: Reader, states: Sequence[State], limit: int | None, search: str, sort: Sort
) -> list[JobStatus]:
    """List the jobs of some states in one order, at most `limit`."""
    one = states[0] if len(states) == 1 else None
    query = Query(state=one, search=search, sort=sort, descending=sort in _LARGEST_FIRST)
    return Browser(reader).find(query, limit, states)

"""Which finished jobs retention removes: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.spool.retention import Entered, Surplus

ALL = 10**6
FIVE = [(30, "c"), (10, "a"), (50, "e"), (20, "b"), (40, "d")]
ENTERED = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 5)).map(
    lambda found: [(when, name) for name, when in found.items()]
)
NUMBERS = st.none() | st.integers(0, 8)


def surplus(entered: Iterable[Entered], **options: Any) -> list[Entered]:
    found = Surplus(**options)
    for each in entered:
        found.add(each)
    return found.chosen()


def _names(found: list[Entered]) -> str:
    return "".join(name for _, name in found)


@pytest.mark.parametrize(
    ("before", "keep", "goes"),
    [
        (None, 5, ""),
        (None, 9, ""),
        (None, 3, "ab"),
        (None, 0, "abcde"),
        (30, None, "ab"),
        (0, None, ""),
        (99, None, "abcde"),
        (20, 3, "ab"),
        (41, 3, "abcd"),
        (None, None, ""),
    ],
)
def test_the_oldest_files_are_removed_first(
    before: int | None, keep: int | None, goes: str
) -> None:
    assert _names(surplus(FIVE, before=before, keep=keep, most=ALL)) == goes


def test_the_last_names_among_equally_old_files_are_kept() -> None:
    tied = [(1, name) for name in "dbeac"]
    assert _names(surplus(tied, before=None, keep=2, most=ALL)) == "abc"


def test_no_more_files_are_chosen_than_asked_for() -> None:
    assert _names(surplus(FIVE, before=99, keep=1, most=2)) == "ab"


@given(ENTERED, NUMBERS, NUMBERS)
def test_the_kept_files_are_new_enough_and_not_too_many(
    entered: list[Entered], before: int | None, keep: int | None
) -> None:
    goes = surplus(entered, before=before, keep=keep, most=ALL)
    stays = sorted(set(entered) - set(goes))
    assert sorted(goes) == goes
    assert not goes or not stays or goes[-1] < stays[0]
    assert before is None or all(when >= before for when, _ in stays)
    assert keep is None or len(stays) <= keep
    unneeded = [e for e in goes if before is None or e[0] >= before]
    assert not unneeded or len(stays) == keep


@given(ENTERED, NUMBERS, NUMBERS, st.integers(1, 3))
def test_small_batches_choose_the_same_files(
    entered: list[Entered], before: int | None, keep: int | None, most: int
) -> None:
    left = list(entered)
    while batch := surplus(left, before=before, keep=keep, most=most):
        left = [each for each in left if each not in batch]
    whole = surplus(entered, before=before, keep=keep, most=ALL)
    assert sorted(left) == sorted(set(entered) - set(whole))

"""Figures of the proofs: what was tried and what was found."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note figures under a heading: `figures("kill", points=40, violations=0)`."""

    def note(heading: str, **numbers: int) -> None:
        record_property("figures", (heading, numbers))

    return note

"""Figures of the proofs: what was tried and what was found, printed at the end of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note figures under a heading: `figures("kill", points=40, violations=0)`."""

    def note(heading: str, **numbers: int) -> None:
        record_property("figures", (heading, numbers))

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "figures":
                    heading, numbers = value
                    for what, count in numbers.items():
                        totals[heading][what] += count
    if totals:
        terminalreporter.section("figures of the proofs")
        for heading, numbers in totals.items():
            line = ", ".join(f"{count:,} {what}" for what, count in numbers.items())
            terminalreporter.write_line(f"{heading:<44} {line}")

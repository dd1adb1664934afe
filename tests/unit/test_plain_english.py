"""Phrases that a native reader stumbled at do not come back: each with the usual words for it.

A phrase is a regular expression. Code, comments, docstrings, help and pages are all read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
BETTER = {
    r"(?<!there )(?<!There )\bis no (?!longer|more\b)\w+": "is not a ..., or: there is no ...",
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\b(drawn by|by) lot\b": "at random",
    r"\bthe dead\b(?! letter| job| worker)": "dead workers, dead jobs",
    r"\b(so long as|for so long|so many)\b": "as long as; a number",
    r"\b(stands|stand|stood)\b(?! for)": "is, exists",
    r"\bwho (sends|brings|comes|tells|awaits|waits)\b": "name the subject: a client, a process",
    r"\b(strikes? off|struck off|stricken off)\b": "remove",
    r"\bheed(s|ed|ing)?\b": "read, obey, use",
    r"\blets? go of\b": "release",
    r"\bawait(s|ed|ing)\b": "wait for",
}

WRITTEN_IN = {".py", ".html", ".js", ".css", ".toml", ".service"}


def _texts() -> list[Path]:
    pages = [page for page in (PROJECT / "docs").rglob("*.md") if page.name != "changelog.md"]
    code = [each for each in (PROJECT / "queuectl").rglob("*") if each.suffix in WRITTEN_IN]
    return sorted([PROJECT / "README.md", *pages, *code])


@pytest.mark.parametrize("phrase", BETTER)
def test_no_phrase_that_readers_stumble_at_is_used(phrase: str) -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {match[0]!r}, better: {BETTER[phrase]}"
        for path in _texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := re.search(phrase, line, re.IGNORECASE))
    ]
    assert not found, "\n".join(["", *found])

"""Every Python example in the pages is typed: mypy --strict has nothing to say about it."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_mypy_has_nothing_to_say_about_the_python_examples(tmp_path: Path) -> None:
    files = []
    for page in PAGES:
        for number, body in enumerate(FENCE.findall(page.read_text(encoding="utf-8")), 1):
            name = re.sub(r"\W", "_", f"{page.relative_to(ROOT).with_suffix('')}_{number}")
            files.append(tmp_path / f"{name}.py")
            files[-1].write_text(body, encoding="utf-8")
    assert files
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--no-error-summary"]
    said, problems, _ = api.run([*options, *map(str, files)])
    assert said.replace(f"{tmp_path}/", "") + problems == ""

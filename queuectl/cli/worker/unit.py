"""The systemd units that come with queuectl, with the path of the running queuectl in them."""

from __future__ import annotations

import os
import re
import sys
from importlib import resources


def unit_file(*, user: bool) -> str:
    """Return the unit file of a system service, or with `user` of a service of one user."""
    name = "queuectl-worker-user.service" if user else "queuectl-worker.service"
    text = (resources.files("queuectl.cli") / "units" / name).read_text(encoding="utf-8")
    command = " ".join(map(quoted, program()))
    return re.sub(r"(?m)^ExecStart=\S+", lambda _: f"ExecStart={command}", text)


def program() -> list[str]:
    """Return the words that start the running queuectl, the first an absolute path."""
    path = os.path.abspath(sys.argv[0])
    if os.path.basename(path) == "__main__.py" or not os.access(path, os.X_OK):
        return [sys.executable, "-P", "-m", "queuectl"]  # no imports from its directory
    return [path]


def quoted(word: str) -> str:
    """Quote a word for ExecStart=, see systemd.service(5): a % starts a specifier there."""
    word = word.replace("%", "%%")
    if not re.search(r"[\s\"'\\;]", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

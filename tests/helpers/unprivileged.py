"""Commands as a user without privileges: root, who may do anything, would prove nothing.

Where the tests run as root (in CI), the command runs as `nobody` on a spool of nobody's; elsewhere
the user who runs the tests is such a user.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from helpers.processes import PROGRAM

NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED = (Path(sys.base_prefix), Path(sys.prefix), REPOSITORY)
"""What a command of ours has to read: the interpreter, the installed packages, the project."""
_SHOW = """
# $1: a directory that only root may enter; the rest: what is to be seen of it.
closed=$1; shift
stash=$(mktemp -d /tmp/queuectl-stash-XXXXXX); trap 'rmdir "$stash"' EXIT
mount -t tmpfs -o mode=755 tmpfs "$stash"
for path; do mkdir -p "$stash$path"; mount --bind "$path" "$stash$path"; done
mount --rbind "$stash$closed" "$closed"
umount -l "$stash"
"""


def _closed() -> dict[Path, list[Path]]:
    """Find the directories that nobody may not enter, each with what is needed below it."""
    found: dict[Path, list[Path]] = {}
    for path in NEEDED:
        for each in reversed((path, *path.parents)):
            if not each.stat().st_mode & 0o001:
                found.setdefault(each, []).append(path)
                break
    return found


def _prefix(uid: int) -> list[str]:
    """What comes before a command so that it runs as this user, and can read what it needs.

    An interpreter below /root is shown to it in a mount namespace of its own, in its place. What
    is unmounted outside is unmounted there too: no disk of another test is kept alive.
    """
    script = f"show() {{ (set -e; {_SHOW}) }}\n"
    for closed, paths in _closed().items():
        script += f"show {shlex.join(map(str, [closed, *paths]))} || exit 125\n"
    script += 'exec setpriv --reuid="$0" --regid="$0" --clear-groups --no-new-privs "$@"'
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, str(uid)]


@cache
def why_not() -> str | None:
    """Say why no command can be run as another user here; None if one can."""
    if os.geteuid() != 0:
        return None
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        return "unshare and setpriv are not installed (util-linux)"
    command: list[str | Path] = [*_prefix(NOBODY), PROGRAM, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    return done.stderr.strip() or "it failed" if done.returncode else None


@dataclass(frozen=True)
class Unprivileged:
    """A user without privileges, with a directory of his own."""

    home: Path
    uid: int

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        prefix = _prefix(self.uid) if os.geteuid() == 0 else []
        return subprocess.run(
            [*prefix, *command],
            **{"capture_output": True, "text": True, "timeout": 60, "check": False, **options},
            env={**os.environ, "HOME": str(self.home), "QUEUECTL_SPOOL": str(self.spool)},
            cwd=self.home,
        )

    def queuectl(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run queuectl on this user's spool."""
        return self.run(PROGRAM, *words, **options)

    def drop(self, name: str, data: str, mode: int = 0o600) -> Path:
        """Put a file of this user's into `pending/`."""
        staged = self.spool / "tmp" / "dropped"
        staged.write_text(data)
        if os.geteuid() == 0:
            os.chown(staged, self.uid, self.uid)
        staged.chmod(mode)
        return staged.rename(self.spool / "pending" / name)


@contextmanager
def unprivileged() -> Iterator[Unprivileged]:
    """Make the user's directory, where every user can reach it; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="queuectl-nobody-", dir="/tmp") as directory:
        uid = NOBODY if os.geteuid() == 0 else os.geteuid()
        os.chmod(directory, 0o755)
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        os.chown(home, uid, -1)
        yield Unprivileged(home, uid)

"""Files that are not valid jobs: moved to `dead/` untouched, with the reason beside them."""

from __future__ import annotations

import contextlib
import os

from queuectl.record.ids import id_from_name
from queuectl.spool import layout
from queuectl.spool.claims import free_id
from queuectl.spool.places import Unfit, version_of
from queuectl.spool.spool import Spool


def reject(
    spool: Spool, path: str, reason: str, *, wanted: str | None = None, seen: Unfit | None = None
) -> str | None:
    """Move a file that is not a valid job to `dead/`, untouched, and write the reason beside it.

    Returns the id that it is kept under; None if it is gone, or is not the file that was `seen`
    but another that was given its name meanwhile. Raises OSError.
    """
    name = wanted or _shown_name(path)
    try:
        moved = spool.claims.move_on(path, "dead", id_for_reject(spool, path, wanted))
    except FileNotFoundError:
        return None
    spool.disk.commit(*moved.owed)
    kept = spool.layout.job("dead", moved.id)
    if seen is not None and version_of(os.lstat(kept)) != seen.version:
        with contextlib.suppress(FileExistsError):  # then it stays, and is reported as dead
            spool.disk.commit(*spool.disk.move(kept, path))
            return None
    if moved.id != name:
        reason += f" (dropped as {name!r})"
    write_reason(spool, moved.id, reason)
    return moved.id


def id_for_reject(spool: Spool, path: str, wanted: str | None = None) -> str:
    """Return the id under which a file that is not a valid job is kept in `dead/`."""
    return free_id(id_from_name(wanted or _shown_name(path)), path, spool.reader.places)


def write_reason(spool: Spool, job_id: str, reason: str) -> None:
    """Write why a file in `dead/` is not a valid job."""
    spool.write_beside(spool.layout.reason(job_id), f"{reason}\n".encode())


def _shown_name(path: str) -> str:
    """Return a file's name without `.json`, as text: its bytes may not be UTF-8."""
    return os.fsencode(layout.stem(os.path.basename(path))).decode(errors="replace")

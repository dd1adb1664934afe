"""Files that are not valid jobs: moved to `dead/` untouched, with the reason beside them."""

from __future__ import annotations

import contextlib
import os

from queuectl.disk.reading import exists, same_file
from queuectl.errors import InvalidJob
from queuectl.record.ids import id_from_name, is_id
from queuectl.spool import layout
from queuectl.spool.claims import free_id
from queuectl.spool.places import Place, Unfit, version_of
from queuectl.spool.spool import Spool


def reject(
    spool: Spool, path: str, reason: str, *, wanted: str | None = None, seen: Unfit | None = None
) -> str | None:
    """Move a file that is not a valid job to `dead/`, untouched, and write the reason beside it.

    Returns the id that it is kept under; None if it is gone, or was claimed, or is not the file
    that was `seen` but another that was given its name meanwhile. Raises OSError.
    """
    name = wanted or _shown_name(path)
    try:
        moved = spool.claims.move_on(path, "dead", id_for_reject(spool, path, wanted))
    except FileNotFoundError:
        return None
    spool.disk.commit(*moved.owed)
    kept = spool.layout.job("dead", moved.id)
    if _is_claimed(spool, kept):
        spool.disk.remove(kept)
        return None
    if seen is not None and version_of(os.lstat(kept)) != seen.version:
        with contextlib.suppress(FileExistsError):  # then it stays, and is reported as dead
            spool.disk.commit(*spool.disk.move(kept, path))
            return None
    if moved.id != name:
        reason += f" (dropped as {name!r})"
    write_reason(spool, moved.id, reason)
    return moved.id


def explain(spool: Spool, place: Place) -> bool:
    """Write the reason of a file in `dead/` that is not a valid job; True if it was missing.

    The process that rejected the file was killed before it wrote the reason. Raises OSError.
    """
    if not is_id(place.id) or exists(spool.layout.reason(place.id)):
        return False
    try:
        spool.reader.read(place.path)
    except FileNotFoundError:
        return False
    except InvalidJob as error:
        write_reason(spool, place.id, str(error))
        return True
    return False


def _is_claimed(spool: Spool, kept: str) -> bool:
    """Whether a worker has claimed a file while it was moved to `dead/` by link and unlink.

    Then the file has two names, and the one under `processing/` is its holder's.
    """
    return os.lstat(kept).st_nlink > 1 and any(
        same_file(claim.path, kept) for claim in spool.reader.claims()
    )


def id_for_reject(spool: Spool, path: str, wanted: str | None = None) -> str:
    """Return the id under which a file that is not a valid job is kept in `dead/`."""
    return free_id(id_from_name(wanted or _shown_name(path)), path, spool.reader.places)


def write_reason(spool: Spool, job_id: str, reason: str) -> None:
    """Write why a file in `dead/` is not a valid job."""
    spool.write_beside(spool.layout.reason(job_id), f"{reason}\n".encode())


def _shown_name(path: str) -> str:
    """Return a file's name without `.json`, as text: its bytes may not be UTF-8."""
    return os.fsencode(layout.stem(os.path.basename(path))).decode(errors="replace")

"""Whose trouble an error is: this process's, the disk's, or one file's.

The answer decides what waits. Trouble of the process (no descriptor, no memory, no thread to be
had) passes: the call is made again later, and nothing is given up for it. Trouble of the disk stops
the taking of new jobs until the disk is well. Trouble of one file holds up that file alone.
"""

from __future__ import annotations

import errno
from typing import Final, Literal

from queuectl.errors import NotDurable, QueuectlError

Owner = Literal["process", "disk", "file"]

_OF_THE_PROCESS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS}
)
_OF_ONE_FILE: Final = frozenset(
    {
        errno.E2BIG,
        errno.EACCES,
        errno.EBUSY,
        errno.EEXIST,
        errno.EFBIG,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.ENXIO,
        errno.EPERM,
        errno.ETXTBSY,
        errno.EXDEV,
    }
)


def owner(error: BaseException) -> Owner:
    """Return whose trouble an error is. An errno that is not known here is the disk's."""
    if isinstance(error, OSError):
        if error.errno in _OF_THE_PROCESS:
            return "process"
        return "file" if error.errno in _OF_ONE_FILE else "disk"
    if isinstance(error, MemoryError):
        return "process"
    if isinstance(error, QueuectlError) and not isinstance(error, NotDurable):
        return "file"
    return "disk"

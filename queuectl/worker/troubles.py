"""The trouble that a part of a worker's work has: told when it begins, and survived."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from queuectl.errors import QueuectlError, SpoolUnusable

log = logging.getLogger(__name__)

Kind = tuple[type[BaseException], int | None]


class Troubles:
    """The trouble of one thread's parts of work, each known by a name.

    A part is done again later anyway, so an error ends neither the thread nor its other parts. As
    long as a part fails in the same way, that is told once.
    """

    def __init__(self) -> None:
        self._told: dict[str, Kind] = {}

    @contextlib.contextmanager
    def survived(self, part: str) -> Iterator[None]:
        """Log an error of a part of the work. Raises SpoolUnusable as it is."""
        try:
            yield
        except SpoolUnusable:
            raise
        except (OSError, QueuectlError) as error:
            kind = (type(error), getattr(error, "errno", None))
            if self._told.get(part) != kind:
                log.error("%s: %s", part, error)
            self._told[part] = kind
        else:
            self._told.pop(part, None)

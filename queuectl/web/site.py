"""What all pages of one queue share."""

from __future__ import annotations

import contextlib

from queuectl.errors import NoSuchJob
from queuectl.queue import Queue
from queuectl.view.status import JobStatus
from queuectl.web.access import Access
from queuectl.web.background import TaskRunner
from queuectl.web.health_cache import HealthCache
from queuectl.web.live import LiveUpdates
from queuectl.web.logtext import last_line
from queuectl.web.rendering import Renderer
from queuectl.web.timeline import Timeline


class Site:
    """The web page of one queue."""

    def __init__(self, queue: Queue, access: Access) -> None:
        self.queue = queue
        self.access = access
        self.tasks = TaskRunner()
        self.browser = queue.browser()
        self.health = HealthCache(queue.path)
        self.timeline = Timeline(self.browser.read)
        self.live = LiveUpdates(queue, self.browser, self.timeline, self.tasks)
        self.renderer = Renderer(
            {"spool": queue.path, "read_only": access.read_only, "why": self.reason}
        )

    def reason(self, status: JobStatus) -> str:
        """Say why a job is not completed; of a dead job, also the last line of its log."""
        reason = status.reason or ""
        last = status.job.last_attempt if status.job else None
        is_failure = last is not None and last.outcome in ("failed", "timeout", "lost")
        if status.state != "dead" or status.problem or not (last and is_failure and last.log):
            return reason
        with contextlib.suppress(NoSuchJob):
            path = self.queue.log_path(status.id, last.attempt, exact=True)
            reason = ": ".join(filter(None, (reason, last_line(path))))
        return reason

    def counts(self) -> dict[str, int]:
        """Count the jobs of each state, for the header of a page."""
        return {str(state): count for state, count in self.browser.counts().items()}

"""What all pages of one queue share."""

from __future__ import annotations

from queuectl.queue import Queue
from queuectl.web.access import Access
from queuectl.web.background import TaskRunner
from queuectl.web.health_cache import HealthCache
from queuectl.web.live import LiveUpdates
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
        self.renderer = Renderer({"spool": queue.path, "read_only": access.read_only})

    def counts(self) -> dict[str, int]:
        """Count the jobs of each state, for the header of a page."""
        return {str(state): count for state, count in self.browser.counts().items()}

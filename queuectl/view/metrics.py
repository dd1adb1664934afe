"""The metrics of a spool and of a worker, for Prometheus.

Values that can be read from the spool at any time are gauges: any program may read them, and all
get the same. Events (attempts, their durations, errors) are counted by the worker that sees them,
from its start. They cannot be counted from the spool: jobs are purged and retried, and a counter
must never go down.

Every series has the spool as a label, because one host may have several spools, and the textfile
collector of node_exporter refuses two files with the same series.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from queuectl import clock
from queuectl.disk.durable import Disk, discard
from queuectl.errors import InvalidInput, QueuectlError
from queuectl.record.job import Attempt, Job, Outcome, State
from queuectl.version import __version__
from queuectl.view import health
from queuectl.view.observer import Observer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""The outcomes that a worker counts: `lost` for attempts of dead workers, found in recovery."""
SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400)
"""The buckets of waits and durations, in seconds: jobs take from milliseconds to hours."""
_MODE = 0o644  # node_exporter is another user

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody uses


class SpoolCollector(Collector):
    """The gauges of one spool, read at each scrape.

    A spool that cannot be read gives only `queuectl_up` 0, or with `strict` an error.
    """

    def __init__(self, root: str, *, strict: bool = False) -> None:
        self._root = os.path.abspath(root)
        self._spool = _label(self._root)
        self._strict = strict

    def collect(self) -> Iterator[Metric]:
        """Read the spool. With `strict`, raises SpoolUnusable if there is none, OSError."""
        seen = None
        try:
            seen = health.observe(self._root)
        except (OSError, QueuectlError):
            if self._strict:
                raise
        if seen is not None and seen.damage:
            seen = None
        yield self._gauge("up", "1 if the spool can be read, else 0.", seen is not None)
        if seen is not None:
            yield from self._of_jobs(seen)
            yield from self._of_workers(seen)
            yield from self._of_the_rest(seen)

    def _of_jobs(self, seen: health.Snapshot) -> Iterator[Metric]:
        jobs = self._family(
            "jobs", "Jobs in each state; state dead is the dead letter queue.", "state"
        )
        for state, count in seen.jobs.items():
            jobs.add_metric([self._spool, state], count)
        yield jobs
        yield self._gauge(
            "oldest_due_age_seconds",
            "Seconds since the oldest due job became due; 0 if no job is due.",
            seen.oldest_due or 0.0,
        )
        yield self._gauge(
            "next_run_seconds",
            "Seconds until the next scheduled job or retry is due; absent if there is none.",
            seen.next_run,
        )

    def _of_workers(self, seen: health.Snapshot) -> Iterator[Metric]:
        workers = self._family(
            "workers",
            "Running workers (alive), and dead workers that are not cleaned up yet (dead).",
            "state",
        )
        workers.add_metric([self._spool, "alive"], len(seen.alive))
        workers.add_metric([self._spool, "dead"], len(seen.workers) - len(seen.alive))
        yield workers
        slots = sum(worker.slots for worker in seen.alive)
        busy = sum(len(worker.running) for worker in seen.alive)
        yield self._gauge("slots", "Jobs that the running workers can run at the same time.", slots)
        yield self._gauge("slots_busy", "Jobs that the running workers are running.", busy)

    def _of_the_rest(self, seen: health.Snapshot) -> Iterator[Metric]:
        space = seen.space
        assert space is not None
        for name, about, value in (
            (
                "disk_free_bytes",
                "Free space on the spool's file system for users other than root.",
                space.free_bytes,
            ),
            ("disk_size_bytes", "Size of the spool's file system.", space.size_bytes),
            ("disk_free_inodes", "Free inodes of the spool's file system.", space.free_inodes),
            (
                "disk_inodes",
                "Inodes of the spool's file system; 0 if it does not count them.",
                space.inodes,
            ),
        ):
            yield self._gauge(name, about, value)
        valid = seen.settings_problem is None
        yield self._gauge("settings_valid", "1 if queue.toml is valid, else 0.", valid)
        build = self._family(
            "build_info", "The version of queuectl that made these metrics; always 1.", "version"
        )
        build.add_metric([self._spool, __version__], 1)
        yield build

    def _family(self, name: str, about: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"queuectl_{name}", about, labels=["spool", *labels])

    def _gauge(self, name: str, about: str, value: float | None) -> GaugeMetricFamily:
        family = self._family(name, about)
        if value is not None:
            family.add_metric([self._spool], float(value))
        return family


class WorkerMetrics(Observer):
    """The counters of one worker, from its start.

    Its methods are called from the threads of the slots; the counters are thread-safe.
    """

    def __init__(self, root: str, registry: CollectorRegistry) -> None:
        spool = _label(os.path.abspath(root))

        def counter(name: str, about: str) -> Counter:
            return Counter(f"queuectl_{name}", about, ["spool"], registry=registry)

        def histogram(name: str, about: str) -> Histogram:
            made = Histogram(
                f"queuectl_{name}", about, ["spool"], registry=registry, buckets=SECONDS
            )
            return made.labels(spool)

        attempts = Counter(
            "queuectl_attempts",
            "Attempts that this worker has recorded, by outcome; lost: those of dead workers.",
            ["spool", "outcome"],
            registry=registry,
        )
        # Every series begins at 0: rate() cannot see the increase of one that begins at 1.
        self._attempts = {outcome: attempts.labels(spool, outcome) for outcome in OUTCOMES}
        self._deaths = counter(
            "deaths",
            "Jobs that this worker has given up on, and files that are not valid jobs; "
            "cancelled jobs are not counted.",
        ).labels(spool)
        self._durations = histogram("attempt_duration_seconds", "Duration of attempts in seconds.")
        self._waits = histogram(
            "wait_seconds", "Seconds from when a job became due until this worker claimed it."
        )
        self._errors = counter(
            "settle_errors", "Failed writes of an outcome to disk; each is tried again."
        ).labels(spool)
        self._recovered = counter(
            "recovered_jobs", "Jobs of dead workers that this worker has recovered."
        ).labels(spool)

    def claimed(self, job: Job) -> None:
        """A slot has claimed a job and is about to run it."""
        self._waits.observe(max(clock.now() - due_since(job), 0.0))

    def settled(self, entry: Attempt, target: State) -> None:
        """An attempt's outcome is written, and the job has moved to state `target`."""
        self._attempts[entry.outcome].inc()
        if target == "dead" and entry.outcome != "cancelled":
            self._deaths.inc()
        if entry.outcome != "lost" and entry.started_at and entry.finished_at:
            start, end = map(clock.parse_timestamp, (entry.started_at, entry.finished_at))
            self._durations.observe(max(end - start, 0.0))

    def settle_failed(self) -> None:
        """The disk has refused an outcome; the worker will try again."""
        self._errors.inc()

    def recovered(self, entry: Attempt | None, target: State) -> None:
        """A job of a dead worker has moved on; the dead worker has not counted its attempt."""
        self._recovered.inc()
        if entry is None:
            self.rejected()
        else:
            self.settled(entry, target)

    def rejected(self) -> None:
        """A waiting file that is not a valid job has moved to `dead/`."""
        self._deaths.inc()


def _label(path: str) -> str:
    """Return a path as a label, which must be UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def due_since(job: Job) -> float:
    """Return when a waiting job became due: at its `run_at`, or when it was written if later."""
    stamps = [job.run_at, job.updated_at or job.created_at]
    return max((clock.parse_timestamp(stamp) for stamp in stamps if stamp), default=clock.now())


def render(root: str, *, strict: bool = True) -> bytes:
    """Return the gauges of a spool in the text format of Prometheus.

    With `strict`, raises SpoolUnusable if there is no spool, OSError.
    """
    registry = CollectorRegistry()
    registry.register(SpoolCollector(root, strict=strict))
    return generate_latest(registry)


def document(root: str) -> list[dict[str, Any]]:
    """Return the gauges as data: each metric with its samples. Raises what `render` raises."""
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [{"labels": one.labels, "value": one.value} for one in family.samples],
        }
        for family in SpoolCollector(root, strict=True).collect()
    ]


def write(root: str, path: str) -> None:
    """Write the gauges of a spool to a file, which is replaced at once: no reader sees half of it.

    The temporary file beside it does not end in `.prom`: node_exporter reads all that do. A
    symbolic link is followed. Raises InvalidInput if the path is not a regular file,
    QueuectlError if its directory does not exist, OSError.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InvalidInput(f"{path} is not a regular file; name a file that may be replaced")
    if not os.path.isdir(os.path.dirname(path)):
        raise QueuectlError(f"there is no directory {os.path.dirname(path)}")
    disk = Disk(sync=False, file_mode=_MODE)  # the next run writes it again after a power cut
    staged = f"{path}.{os.getpid()}.tmp"
    discard(staged)  # left by a dead process that had our pid
    disk.overwrite(path, render(root), staged=staged)


def parse_listen(text: str) -> tuple[str, int]:
    """Read `PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; loopback if there is no address.

    Raises InvalidInput.
    """
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidInput(
            f"{text!r} is not a port: write 9317, or 0.0.0.0:9317 to serve other hosts"
        )
    return address.strip("[]") or "127.0.0.1", int(port)


def serve(root: str, host: str, port: int) -> tuple[WorkerMetrics, str]:
    """Serve a worker's metrics and its spool's gauges over HTTP until this process exits.

    Returns the worker's observer, and the URL: port 0 means any free port, and the URL has the
    real one. Raises QueuectlError if it cannot listen there.
    """
    registry = CollectorRegistry()
    observer = WorkerMetrics(root, registry)
    registry.register(SpoolCollector(root))
    ProcessCollector(registry=registry)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:  # or the name cannot be resolved
        why = error.strerror or error
        raise QueuectlError(f"cannot listen on {host}, port {port}: {why}") from None
    shown = f"[{host}]" if ":" in host else host
    return observer, f"http://{shown}:{server.server_port}/metrics"

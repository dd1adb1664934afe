"""What a queue and a worker are doing, for Prometheus.

What can be read from the spool at any time is a gauge: any program may ask, and all that ask
get the same. What happens (attempts, how long they take, trouble) is counted by the worker it
happens to, from its start. It cannot be counted from the spool: jobs are purged and retried, and
a counter that goes down lies.

Every series names its spool, because one host may have several, and node_exporter's textfile
collector refuses two files with one series.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

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
OUTCOMES: tuple[Outcome, ...] = ("ok", "failed", "timeout", "cancelled", "interrupted")
"""How attempts end that a worker sees to the end; those that are lost it recovers."""
SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400)
"""The buckets of waits and durations: jobs take from milliseconds to hours."""
_MODE = 0o644  # node_exporter is another user

disable_created_metrics()  # type: ignore[no-untyped-call] # one more series beside each, for nothing


class SpoolCollector(Collector):
    """The gauges of one spool, looked at whenever they are asked for.

    One that cannot be read gives `queuectl_up` 0 and nothing else, or with `strict` an error.
    """

    def __init__(self, root: str, *, strict: bool = False) -> None:
        self._root = os.path.abspath(root)
        self._spool = _label(self._root)
        self._strict = strict

    def collect(self) -> Iterator[Metric]:
        """Look at the spool. With `strict`, raises SpoolUnusable if there is none, OSError."""
        seen = None
        try:
            seen = health.observe(self._root)
        except (OSError, QueuectlError):
            if self._strict:
                raise
        if seen is not None and seen.damage:
            seen = None
        yield self._gauge("up", "Whether the spool could be read.", seen is not None)
        if seen is not None:
            yield from self._of_jobs(seen)
            yield from self._of_workers(seen)
            yield from self._of_the_rest(seen)

    def _of_jobs(self, seen: health.Snapshot) -> Iterator[Metric]:
        jobs = self._family(
            "jobs", "Jobs in each state; those in state dead are the dead letter queue.", "state"
        )
        for state, count in seen.jobs.items():
            jobs.add_metric([self._spool, state], count)
        yield jobs
        yield self._gauge(
            "oldest_due_age_seconds",
            "For how long the oldest job that waits and is due has been so; 0 if none is.",
            seen.oldest_due or 0.0,
        )
        yield self._gauge(
            "next_run_seconds",
            "In how many seconds the next job that waits for its time is due; absent if none is.",
            seen.next_run,
        )

    def _of_workers(self, seen: health.Snapshot) -> Iterator[Metric]:
        workers = self._family(
            "workers", "Workers that live, and that died and were not struck off yet.", "state"
        )
        workers.add_metric([self._spool, "alive"], len(seen.alive))
        workers.add_metric([self._spool, "dead"], len(seen.workers) - len(seen.alive))
        yield workers
        slots = sum(worker.slots for worker in seen.alive)
        busy = sum(len(worker.running) for worker in seen.alive)
        yield self._gauge("slots", "Jobs that the living workers can run at a time.", slots)
        yield self._gauge("slots_busy", "Jobs that the living workers are running.", busy)

    def _of_the_rest(self, seen: health.Snapshot) -> Iterator[Metric]:
        space = seen.space
        assert space is not None
        for name, about, value in (
            (
                "disk_free_bytes",
                "Room on the spool's file system, without root's.",
                space.free_bytes,
            ),
            ("disk_size_bytes", "Size of the spool's file system.", space.size_bytes),
            ("disk_free_inodes", "Free inodes of the spool's file system.", space.free_inodes),
            ("disk_inodes", "Inodes of the spool's file system; 0 if not counted.", space.inodes),
        ):
            yield self._gauge(name, about, value)
        valid = seen.settings_problem is None
        yield self._gauge("settings_valid", "Whether queue.toml is valid.", valid)
        build = self._family("build_info", "The version of queuectl that tells this.", "version")
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
    """A worker's own counts, from its start.

    Its methods are called from the slots' threads; the client library's counters bear that.
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
            "Attempts that this worker has ended and written, by outcome.",
            ["spool", "outcome"],
            registry=registry,
        )
        # Each from 0 on: a series that begins at 1 has no increase that rate() could see.
        self._attempts = {outcome: attempts.labels(spool, outcome) for outcome in OUTCOMES}
        self._deaths = counter("deaths", "Jobs that this worker has given up on.").labels(spool)
        self._durations = histogram(
            "attempt_duration_seconds", "How long attempts took, from start to end."
        )
        self._waits = histogram(
            "wait_seconds", "How long jobs had been due when this worker claimed them."
        )
        self._errors = counter(
            "settle_errors", "Times that the disk refused an outcome; it is tried again."
        ).labels(spool)
        self._recovered = counter(
            "recovered_jobs", "Jobs of dead workers that this worker has moved on."
        ).labels(spool)

    def claimed(self, job: Job) -> None:
        """A slot has claimed a job and is about to run it."""
        self._waits.observe(max(clock.now() - due_since(job), 0.0))

    def settled(self, entry: Attempt, target: State) -> None:
        """An attempt's outcome is written, and the job has gone to `target`."""
        self._attempts[entry.outcome].inc()
        if target == "dead" and entry.outcome != "cancelled":
            self._deaths.inc()
        if entry.started_at and entry.finished_at:
            start, end = map(clock.parse_timestamp, (entry.started_at, entry.finished_at))
            self._durations.observe(max(end - start, 0.0))

    def settle_failed(self) -> None:
        """The disk has refused to take an outcome; the worker will try again."""
        self._errors.inc()

    def recovered(self, count: int) -> None:
        """So many jobs of dead workers were moved on."""
        self._recovered.inc(count)


def _label(path: str) -> str:
    """A path as a label, which is UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def due_since(job: Job) -> float:
    """Return when a waiting job became due: at its `run_at`, or when it was last written."""
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
    """Return the same as values: each metric with its samples. Raises as `render` does."""
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
    """Write what `render` returns to a file, whole or not at all: nobody ever reads a part.

    A name beside it that ends otherwise, for node_exporter reads all that end in `.prom`. A
    symbolic link is followed. Raises InvalidInput for what is no file, QueuectlError for no
    directory, OSError.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InvalidInput(f"{path} is no regular file, and would be replaced by one")
    if not os.path.isdir(os.path.dirname(path)):
        raise QueuectlError(f"there is no directory {os.path.dirname(path)}")
    disk = Disk(sync=False, file_mode=_MODE)  # after a power cut it is written anew
    staged = f"{path}.{os.getpid()}.tmp"
    discard(staged)  # of one that died, whose number is ours now
    disk.overwrite(path, render(root), staged=staged)


def parse_listen(text: str) -> tuple[str, int]:
    """Read `PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; loopback if there is no address.

    Raises InvalidInput.
    """
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidInput(f"{text!r} is no port: write 9317, or 0.0.0.0:9317 for other hosts")
    return address.strip("[]") or "127.0.0.1", int(port)


def serve(root: str, host: str, port: int) -> tuple[WorkerMetrics, str]:
    """Serve a worker's metrics, and the gauges of its spool, over HTTP while this process lives.

    Returns the worker's observer and the address, which tells the port where 0 was asked for:
    any free one. Raises QueuectlError if it cannot listen there.
    """
    registry = CollectorRegistry()
    observer = WorkerMetrics(root, registry)
    registry.register(SpoolCollector(root))
    ProcessCollector(registry=registry)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:  # also a name that cannot be resolved
        why = error.strerror or error
        raise QueuectlError(f"cannot listen at {host}, port {port}: {why}") from None
    shown = f"[{host}]" if ":" in host else host
    return observer, f"http://{shown}:{server.server_port}/metrics"

"""`queuectl metrics`, and what a worker serves; with promtool, the rules and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess

pytest.importorskip("prometheus_client", reason="needs the extra: metrics")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from queuectl import clock
from queuectl.errors import InvalidInput
from queuectl.record.job import Attempt, build
from queuectl.view import metrics

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
promtool_needed = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")


def values(text: str) -> dict[str, float]:
    """Read samples: their names with all labels except the spool, and their values."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            marks = [sample.labels[key] for key in sorted(sample.labels) if key != "spool"]
            found[" ".join([sample.name, *marks])] = sample.value
    return found


def promtool(*words: str, text: str = "") -> None:
    done = subprocess.run(
        ["promtool", *words], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


class TestCommand:
    def test_jobs_by_state(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        queuectl("enqueue", "--id", "a", "true")
        queuectl("enqueue", "--id", "b", "--delay", "1h", "true")
        queuectl("enqueue", "--id", "c", "true")
        queuectl("cancel", "c")
        found = values(queuectl("metrics").out)
        assert found["queuectl_jobs pending"] == 2
        assert found["queuectl_jobs dead"] == 1
        assert 0 < found["queuectl_oldest_due_age_seconds"] < 100
        assert 3500 < found["queuectl_next_run_seconds"] < 3601

    def test_of_an_empty_queue(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        found = values(queuectl("metrics").out)
        assert found["queuectl_oldest_due_age_seconds"] == 0
        assert "queuectl_next_run_seconds" not in found
        assert found["queuectl_workers alive"] == found["queuectl_slots"] == 0

    def test_workers_and_slots(
        self, queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
    ) -> None:
        worker("--count", "3")
        queuectl("enqueue", "--id", "a", "sleep 300")
        eventually(lambda: spool.is_in("processing", "a"))
        dead = worker("--count", "9")
        dead.process.kill()
        dead.left()
        found = values(queuectl("metrics").out)
        assert found["queuectl_workers alive"] == 1
        assert (found["queuectl_slots"], found["queuectl_slots_busy"]) == (3, 1)

    def test_the_disk_and_the_settings(
        self, queuectl: Queuectl, settings: Configure, spool: Spool
    ) -> None:
        settings()
        total = shutil.disk_usage(spool.root).total
        found = values(queuectl("metrics").out)
        assert found["queuectl_disk_size_bytes"] == total
        assert 0 < found["queuectl_disk_free_bytes"] < total
        assert found["queuectl_settings_valid"] == 1
        (spool.root / "queue.toml").write_text("max_retries = ")
        assert values(queuectl("metrics").out)["queuectl_settings_valid"] == 0

    def test_every_series_names_its_spool(
        self, queuectl: Queuectl, settings: Configure, spool: Spool
    ) -> None:
        settings()
        for family in text_string_to_metric_families(queuectl("metrics").out):
            assert {sample.labels["spool"] for sample in family.samples} <= {str(spool.root)}

    @promtool_needed
    def test_promtool_has_nothing_to_say(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        promtool("check", "metrics", text=queuectl("metrics").out)

    def test_as_json(self, queuectl: Queuectl, settings: Configure, spool: Spool) -> None:
        settings()
        queuectl("enqueue", "true")
        found = {family["name"]: family for family in queuectl.json("metrics")}
        jobs = found["queuectl_jobs"]
        assert jobs["type"] == "gauge"
        assert jobs["help"].startswith("Jobs in each state")
        assert {"labels": {"spool": str(spool.root), "state": "pending"}, "value": 1} in jobs[
            "samples"
        ]
        text = text_string_to_metric_families(queuectl("metrics").out)
        assert {family.name for family in text} == set(found)

    def test_json_is_not_for_the_textfile_collector(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        file = tmp_path / "queuectl.prom"
        assert "--json" in queuectl.error("metrics", "--json", "--output", str(file))
        assert not file.exists()

    def test_json_where_there_is_no_spool(self, queuectl: Queuectl, spool: Spool) -> None:
        assert str(spool.root) in queuectl.error("metrics", "--json", code=1)

    def test_where_there_is_no_spool(self, queuectl: Queuectl, spool: Spool) -> None:
        assert str(spool.root) in queuectl.error("metrics", code=1)
        assert not spool.root.exists()

    def test_without_the_extra(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        (tmp_path / "sitecustomize.py").write_text(
            "import sys; sys.modules['prometheus_client'] = None"
        )
        message = queuectl.error("metrics", code=1, PYTHONPATH=str(tmp_path))
        assert message == (
            "metrics need packages that are not installed: "
            "in a clone of queuectl, run `pip install '.[metrics]'`"
        )

    def test_an_argument_too_many(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        queuectl.error("metrics", "all")


class TestOutput:
    def test_a_file_that_others_may_read(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        file = tmp_path / "queuectl.prom"
        for _ in range(2):
            assert queuectl("metrics", "--output", str(file)).out == ""
        assert values(file.read_text())["queuectl_up"] == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert [path.name for path in tmp_path.glob("queuectl.prom*")] == ["queuectl.prom"]

    def test_a_link_is_followed(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        (tmp_path / "link").symlink_to("file")
        queuectl("metrics", "-o", str(tmp_path / "link"))
        assert (tmp_path / "link").is_symlink()
        assert "queuectl_up" in (tmp_path / "file").read_text()

    def test_what_is_no_file_stays(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        assert "is not a regular file" in queuectl.error("metrics", "--output", str(tmp_path))
        assert "is not a regular file" in queuectl.error("metrics", "--output", "/dev/null")

    def test_the_old_one_stays_if_the_new_one_cannot_be_written(
        self, queuectl: Queuectl, spool: Spool, tmp_path: Path
    ) -> None:
        file = tmp_path / "queuectl.prom"
        file.write_text("old")
        queuectl.error("metrics", "--output", str(file), code=1)
        assert file.read_text() == "old"

    def test_a_directory_that_is_not_there(
        self, queuectl: Queuectl, settings: Configure, tmp_path: Path
    ) -> None:
        settings()
        message = queuectl.error("metrics", "--output", str(tmp_path / "no" / "file"), code=1)
        assert message == f"there is no directory {tmp_path}/no"


# -- what a worker counts --------------------------------------------------------------------


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def counted(registry: CollectorRegistry) -> Callable[[], dict[str, float]]:
    """What a worker has counted so far."""
    return lambda: values(generate_latest(registry).decode())


def attempt(outcome: Any, seconds: int = 2) -> Attempt:
    start, end = "2026-11-24T03:00:00Z", f"2026-11-24T03:00:{seconds:02}Z"
    return Attempt(attempt=1, outcome=outcome, started_at=start, finished_at=end)


class TestObserver:
    """Told by a test, in place of a worker."""

    def test_attempts_by_outcome_begin_at_0(
        self, registry: CollectorRegistry, counted: Callable[[], dict[str, float]]
    ) -> None:
        observer = metrics.WorkerMetrics("/spool", registry)
        assert counted()["queuectl_attempts_total ok"] == 0
        observer.settled(attempt("ok"), "completed")
        observer.settled(attempt("failed"), "failed")
        observer.settled(attempt("timeout"), "dead")
        observer.settled(attempt("cancelled"), "dead")
        found = counted()
        for outcome in ("ok", "failed", "timeout", "cancelled"):
            assert found[f"queuectl_attempts_total {outcome}"] == 1
        assert found["queuectl_deaths_total"] == 1

    def test_durations(
        self, registry: CollectorRegistry, counted: Callable[[], dict[str, float]]
    ) -> None:
        observer = metrics.WorkerMetrics("/spool", registry)
        observer.settled(attempt("ok", seconds=2), "completed")
        observer.settled(attempt("ok", seconds=40), "completed")
        found = counted()
        assert found["queuectl_attempt_duration_seconds_sum"] == 42
        assert found["queuectl_attempt_duration_seconds_bucket 5.0"] == 1

    def test_an_attempt_that_was_never_started_has_no_duration(
        self, registry: CollectorRegistry, counted: Callable[[], dict[str, float]]
    ) -> None:
        observer = metrics.WorkerMetrics("/spool", registry)
        observer.settled(Attempt(attempt=1, outcome="cancelled"), "dead")
        assert counted()["queuectl_attempt_duration_seconds_count"] == 0

    @pytest.mark.parametrize(
        ("stamps", "waited"),
        [
            ({"created_at": 100}, 100),
            ({"created_at": 100, "updated_at": 30}, 30),
            ({"created_at": 100, "updated_at": 100, "run_at": 10}, 10),
            ({"created_at": 100, "updated_at": 100, "run_at": 900}, 100),
            ({}, 0),
        ],
    )
    def test_waits_are_counted_from_when_the_job_was_due(
        self,
        registry: CollectorRegistry,
        counted: Callable[[], dict[str, float]],
        monkeypatch: pytest.MonkeyPatch,
        stamps: dict[str, int],
        waited: float,
    ) -> None:
        now = 1_800_000_000.0
        monkeypatch.setattr(clock, "now", lambda: now)
        ago = {key: clock.format_timestamp(now - age) for key, age in stamps.items()}
        metrics.WorkerMetrics("/spool", registry).claimed(build({"command": "true", **ago}))
        assert counted()["queuectl_wait_seconds_sum"] == pytest.approx(waited)

    def test_trouble(
        self, registry: CollectorRegistry, counted: Callable[[], dict[str, float]]
    ) -> None:
        observer = metrics.WorkerMetrics("/spool", registry)
        observer.settle_failed()
        assert counted()["queuectl_settle_errors_total"] == 1

    def test_jobs_of_dead_workers(
        self, registry: CollectorRegistry, counted: Callable[[], dict[str, float]]
    ) -> None:
        observer = metrics.WorkerMetrics("/spool", registry)
        assert counted()["queuectl_attempts_total lost"] == 0
        observer.recovered(attempt("lost"), "failed")
        observer.recovered(attempt("lost"), "dead")
        observer.recovered(attempt("ok"), "completed")
        observer.recovered(None, "dead")  # its file is not a valid job
        found = counted()
        assert found["queuectl_recovered_jobs_total"] == 4
        assert found["queuectl_attempts_total lost"] == 2
        assert found["queuectl_attempts_total ok"] == 1
        assert found["queuectl_deaths_total"] == 2
        assert found["queuectl_attempt_duration_seconds_count"] == 1  # nobody saw a lost one end

    @promtool_needed
    def test_promtool_has_nothing_to_say(self, registry: CollectorRegistry) -> None:
        metrics.WorkerMetrics("/spool", registry)
        promtool("check", "metrics", text=generate_latest(registry).decode())


@dataclass
class Served:
    """A worker that serves its metrics; a call gets them."""

    process: WorkerProcess
    address: str

    def __call__(self) -> str:
        with urllib.request.urlopen(self.address, timeout=30) as answer:
            return str(answer.read().decode())


class TestWorker:
    """`worker start --metrics-port`."""

    @pytest.fixture
    def fetch(self, worker: StartWorker) -> Callable[..., Served]:
        def start(*words: str) -> Served:
            process = worker("--metrics-port", "0", *words)
            address = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.said)
            assert address, process.said
            return Served(process, address[0])

        return start

    def test_it_counts_what_it_does(
        self,
        queuectl: Queuectl,
        settings: Configure,
        spool: Spool,
        eventually: Eventually,
        fetch: Callable[..., Served],
    ) -> None:
        settings(backoff_base=0.05)
        get = fetch("--count", "2")
        queuectl("enqueue", "--id", "good", "true")
        queuectl("enqueue", "--id", "bad", "--max-retries", "2", "false")
        queuectl("enqueue", "--id", "slow", "--max-retries", "0", "--timeout", "0.2", "sleep 60")
        eventually(lambda: spool.is_in("completed", "good") and spool.is_in("dead", "bad", "slow"))
        eventually(lambda: values(get())["queuectl_deaths_total"] == 2)
        found = values(get())
        assert found["queuectl_attempts_total ok"] == 1
        assert found["queuectl_attempts_total failed"] == 3
        assert found["queuectl_attempts_total timeout"] == 1
        assert found["queuectl_attempt_duration_seconds_count"] == 5
        assert found["queuectl_wait_seconds_count"] == 5
        assert found["queuectl_jobs dead"] == 2
        assert found["queuectl_slots"] == 2

    def test_jobs_of_the_dead_are_counted(
        self,
        queuectl: Queuectl,
        settings: Configure,
        spool: Spool,
        eventually: Eventually,
        fetch: Callable[..., Served],
    ) -> None:
        settings(backoff_base=1000)
        first = fetch()
        queuectl("enqueue", "--id", "a", "--max-retries", "0", "sleep 300")
        eventually(lambda: spool.is_in("processing", "a"))
        first.process.process.kill()
        first.process.left()
        second = fetch()
        eventually(lambda: values(second())["queuectl_recovered_jobs_total"] == 1)
        found = values(second())
        assert found["queuectl_attempts_total lost"] == 1
        assert found["queuectl_deaths_total"] == 1

    def test_a_file_that_is_not_a_valid_job_is_a_death(
        self,
        settings: Configure,
        spool: Spool,
        eventually: Eventually,
        fetch: Callable[..., Served],
    ) -> None:
        settings(quiet_period=0)
        get = fetch()
        (spool.root / "pending" / "bad.json").write_text('{"command": 7}')
        eventually(lambda: values(get())["queuectl_deaths_total"] == 1)
        assert spool.is_in("dead", "bad")

    def test_a_spool_that_cannot_be_read_is_reported(
        self,
        settings: Configure,
        spool: Spool,
        eventually: Eventually,
        fetch: Callable[..., Served],
    ) -> None:
        settings(rescan_interval=3600)
        get = fetch()
        (spool.root / "pending").rename(spool.root / "moved")
        eventually(lambda: values(get())["queuectl_up"] == 0)
        assert "Traceback" not in get.process.said

    def test_it_ends_with_the_worker(self, fetch: Callable[..., Served]) -> None:
        get = fetch()
        get()
        get.process.send(15)
        assert get.process.left() == 0
        with pytest.raises(urllib.error.URLError):
            get()

    @promtool_needed
    def test_promtool_has_nothing_to_say(self, fetch: Callable[..., Served]) -> None:
        promtool("check", "metrics", text=fetch()())

    def test_a_port_that_is_taken(self, queuectl: Queuectl, fetch: Callable[..., Served]) -> None:
        port = fetch().address.rpartition(":")[2].removesuffix("/metrics")
        for words in (["--drain"], ["--detach"]):
            message = queuectl.error("worker", "start", "--metrics-port", port, *words, code=1)
            assert port in message

    @pytest.mark.parametrize("text", ["", "web", "70000", "-1", "127.0.0.1", "localhost:", "1 2"])
    def test_what_is_no_port(self, queuectl: Queuectl, settings: Configure, text: str) -> None:
        settings()
        queuectl.error("worker", "start", "--drain", "--metrics-port", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9317", ("127.0.0.1", 9317)),
        ("0.0.0.0:9317", ("0.0.0.0", 9317)),
        ("[::1]:0", ("::1", 0)),
    ],
)
def test_where_to_listen(text: str, expected: tuple[str, int]) -> None:
    assert metrics.parse_listen(text) == expected


def test_a_port_is_of_ascii() -> None:
    with pytest.raises(InvalidInput):
        metrics.parse_listen("٩٣١٧")


# -- what is shipped beside the documentation ------------------------------------------------


def names_in(text: str) -> set[str]:
    """Find the metrics that a text names, without what a histogram adds."""
    found = set(re.findall(r"queuectl_[a-z_]+[a-z]", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


@pytest.fixture
def all_names(queue_of_all: str) -> set[str]:
    families = text_string_to_metric_families(queue_of_all)
    return {f.name + "_total" * (f.type == "counter") for f in families}


@pytest.fixture
def queue_of_all(
    registry: CollectorRegistry, queuectl: Queuectl, settings: Configure, spool: Spool
) -> str:
    settings()
    metrics.WorkerMetrics(str(spool.root), registry)
    registry.register(metrics.SpoolCollector(str(spool.root)))
    return generate_latest(registry).decode()


NO_WORKER = {
    'queuectl_workers{state="alive"}': 0,
    "queuectl_oldest_due_age_seconds": "0+5x120",
}
FAILED, OK = 'queuectl_attempts_total{outcome="failed"}', 'queuectl_attempts_total{outcome="ok"}'
TIMEOUT = 'queuectl_attempts_total{outcome="timeout"}'
LOST = 'queuectl_attempts_total{outcome="lost"}'
TEXTFILE = 'node_textfile_mtime_seconds{file="/var/lib/prometheus/node-exporter/queuectl.prom"}'
FIRING = [
    (NO_WORKER, "QueuectlNoWorker"),
    ({"queuectl_oldest_due_age_seconds": 1000}, "QueuectlJobsWait"),
    ({"queuectl_deaths_total": "0+1x120"}, "QueuectlJobsDie"),
    ({'queuectl_jobs{state="dead"}': 101}, "QueuectlDeadLetters"),
    ({FAILED: "0+2x120", OK: "0+1x120", TIMEOUT: "0x120"}, "QueuectlAttemptsFail"),
    ({FAILED: "0x120", OK: "0+1x120", TIMEOUT: "0+2x120"}, "QueuectlAttemptsFail"),
    ({FAILED: "0x120", OK: "0+1x120", LOST: "0+2x120"}, "QueuectlAttemptsFail"),
    ({"queuectl_settle_errors_total": "0+1x120"}, "QueuectlOutcomesNotWritten"),
    ({"queuectl_recovered_jobs_total": "0+1x120"}, "QueuectlWorkersDie"),
    ({"queuectl_settings_valid": 0}, "QueuectlSettingsBroken"),
    ({"queuectl_up": 0}, "QueuectlUnreadable"),
    (
        {"queuectl_disk_free_bytes": 1, "queuectl_disk_size_bytes": 100},
        "QueuectlDiskNearlyFull",
    ),
    ({"queuectl_disk_free_inodes": 1, "queuectl_disk_inodes": 100}, "QueuectlDiskNearlyFull"),
    ({TEXTFILE: "0x120"}, "QueuectlMetricsOld"),
]
"""Series, with the one alert that they make fire: each alert is here."""
QUIET = [
    {"queuectl_disk_free_inodes": 0, "queuectl_disk_inodes": 0},
    {'queuectl_workers{state="alive"}': 0, "queuectl_oldest_due_age_seconds": 0},
    {'queuectl_jobs{state="dead"}': 100, 'queuectl_jobs{state="completed"}': 1000},
    {FAILED: "0+1x120", OK: "0+2x120", TIMEOUT: "0x120"},
    {FAILED: "0x120", OK: "0x120", TIMEOUT: "0x120"},
    {'queuectl_attempts_total{outcome="cancelled"}': "0+9x120", FAILED: "0x120", OK: "0+1x120"},
    {TEXTFILE: "0+60x120"},
    {'node_textfile_mtime_seconds{file="/var/lib/other.prom"}': "0x120"},
    {"queuectl_up": 1, "queuectl_settings_valid": 1},
]
"""Series that make no alert fire."""


class TestShipped:
    def test_every_metric_is_on_the_dashboard_and_no_other(self, all_names: set[str]) -> None:
        board = json.loads((HOW_TO / "grafana-dashboard.json").read_text())
        asked = " ".join(t["expr"] for panel in board["panels"] for t in panel["targets"])
        assert names_in(asked) == all_names
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])

    def test_every_metric_is_in_the_documentation_and_no_other(self, all_names: set[str]) -> None:
        page = (HOW_TO / "monitor-with-prometheus.md").read_text()
        named = {name for name in names_in(page) if f"`{name}" in page}
        assert named == all_names

    def test_the_rules_ask_for_metrics_that_are_there(self, all_names: set[str]) -> None:
        assert names_in((HOW_TO / "alert-rules.yml").read_text()) <= all_names

    @promtool_needed
    def test_promtool_accepts_the_rules(self) -> None:
        promtool("check", "rules", str(HOW_TO / "alert-rules.yml"))

    @promtool_needed
    def test_every_query_of_the_dashboard_is_one(self, tmp_path: Path) -> None:
        board = json.loads((HOW_TO / "grafana-dashboard.json").read_text())
        asked = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
        rules = [{"record": f"r:{n}", "expr": e} for n, e in enumerate(asked)]
        rules = [{**r, "expr": r["expr"].replace("$__rate_interval", "5m")} for r in rules]
        file = tmp_path / "queries.yml"
        file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
        promtool("check", "rules", "--lint=none", str(file))

    @promtool_needed
    @pytest.mark.parametrize(("series", "alert"), FIRING, ids=str)
    def test_the_alert_fires(
        self, tmp_path: Path, series: Mapping[str, object], alert: str
    ) -> None:
        assert_alerts(tmp_path, series, "100m", alert)

    @promtool_needed
    @pytest.mark.parametrize("series", QUIET, ids=str)
    def test_no_alert_fires(self, tmp_path: Path, series: Mapping[str, object]) -> None:
        assert_alerts(tmp_path, series, "100m", None)

    @promtool_needed
    @pytest.mark.parametrize(
        ("series", "early"),
        [
            (NO_WORKER, "1m"),
            ({"queuectl_oldest_due_age_seconds": 1000}, "4m"),
            ({'queuectl_jobs{state="dead"}': 101}, "59m"),
            ({"queuectl_up": 0}, "1m"),
        ],
        ids=str,
    )
    def test_what_passes_by_itself_wakes_nobody(
        self, tmp_path: Path, series: Mapping[str, object], early: str
    ) -> None:
        assert_alerts(tmp_path, series, early, None)

    def test_every_alert_has_a_test_in_which_it_fires(self) -> None:
        alerts = re.findall(r"- alert: (\w+)", (HOW_TO / "alert-rules.yml").read_text())
        assert {alert for _, alert in FIRING} == set(alerts)


def assert_alerts(
    tmp_path: Path, series: Mapping[str, object], when: str, alert: str | None
) -> None:
    """Let promtool play the rules over series; that alert fires then, and no other."""

    def named(name: str) -> str:
        if not name.startswith("queuectl_"):
            return name
        return name.replace("{", '{spool="/s",') if "{" in name else f'{name}{{spool="/s"}}'

    inputs = [
        {"series": named(name), "values": value if isinstance(value, str) else f"{value}x120"}
        for name, value in series.items()
    ]
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": when,
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] * bool(alert),
    }
    test = {
        "rule_files": [str(HOW_TO / "alert-rules.yml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

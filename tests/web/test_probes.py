"""Answers for programs: `/healthz` and `/metrics`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from queuectl import Queue
from queuectl.view import health

TOKEN = "a-long-enough-secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def probe(make_client: Callable[..., Any]) -> Any:
    """A client that does not ask for HTML, like most programs."""
    client = make_client()
    client.headers["Accept"] = "*/*"
    return client


@pytest.fixture
def stranger(make_client: Callable[..., Any]) -> Any:
    """A client without the token."""
    client = make_client(token=TOKEN)
    client.headers["Accept"] = "*/*"
    return client


class TestHealth:
    def test_a_healthy_queue_is_reported(self, probe: Any) -> None:
        answer = probe.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "healthy\n")

    def test_an_unhealthy_queue_gives_the_reasons(self, queue: Queue, probe: Any) -> None:
        queue.enqueue("true")  # and no worker is running
        answer = probe.get("/healthz")
        assert answer.status_code == 503
        assert answer.text.startswith("workers: no worker is running")

    def test_the_document_is_that_of_the_command(self, queue: Queue, probe: Any) -> None:
        queue.enqueue("true")
        answer = probe.get("/healthz", headers={"Accept": "application/json"})
        assert answer.status_code == 503
        found = answer.json()
        assert found["healthy"] is False
        assert [reason["check"] for reason in found["reasons"]] == ["workers"]
        assert found["seen"]["jobs"]["pending"] == 1

    @pytest.mark.parametrize(
        ("limits", "check"),
        [("max_dead=0", "dead"), ("max_age=1s", "age"), ("min_free=100%25", "disk")],
    )
    def test_limits_are_in_the_address(
        self, queue: Queue, probe: Any, limits: str, check: str
    ) -> None:
        queue.enqueue("true", id="old")
        os.utime(queue.spool.layout.job("pending", "old"), (1, 1_000_000_000))
        queue.enqueue("true", id="dead")
        queue.cancel("dead")
        assert f"{check}: " not in probe.get("/healthz").text
        assert f"{check}: " in probe.get(f"/healthz?{limits}").text

    @pytest.mark.parametrize(
        "limits",
        ["max_dead=few", "max_dead=-1", "max_age=soon", "min_free=", "maxdead=1", "max_dead="],
    )
    def test_an_invalid_limit_is_refused_in_one_line(self, probe: Any, limits: str) -> None:
        answer = probe.get(f"/healthz?{limits}")
        assert answer.status_code == 400
        assert len(answer.text.splitlines()) == 1
        assert "<" not in answer.text

    def test_a_missing_spool_is_unhealthy(self, queue: Queue, probe: Any, root: Any) -> None:
        root.rename(root.with_name("gone"))
        answer = probe.get("/healthz")
        assert answer.status_code == 503
        assert "there is no spool" in answer.text


class TestHealthWithoutTheToken:
    """A kubelet and a load balancer do not have the token."""

    def test_only_the_status_is_reported(self, queue: Queue, stranger: Any) -> None:
        queue.enqueue("secret", id="secret-id")
        answer = stranger.get("/healthz")
        assert answer.status_code == 503
        assert answer.text == "unhealthy: send the token to see the reasons\n"
        as_json = stranger.get("/healthz", headers={"Accept": "application/json"})
        assert (as_json.status_code, as_json.json()) == (503, {"healthy": False})

    @pytest.mark.parametrize("limit", ["min_free=100%25", "min_free=0", "max_dead=3", "max_age=1m"])
    def test_a_limit_needs_it(self, stranger: Any, limit: str) -> None:
        refused = stranger.get(f"/healthz?{limit}")
        assert (refused.status_code, refused.text) == (401, "limits need the token\n")
        assert stranger.get(f"/healthz?{limit}", headers=BEARER).status_code in (200, 503)

    def test_a_client_with_the_token_gets_the_reasons(self, queue: Queue, stranger: Any) -> None:
        queue.enqueue("true")
        assert "workers: " in stranger.get("/healthz", headers=BEARER).text

    def test_many_requests_cost_one_observation(
        self, stranger: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []
        original = health.observe_all

        def observe_all(root: str) -> health.Snapshot:
            looks.append(root)
            return original(root)

        monkeypatch.setattr(health, "observe_all", observe_all)
        for _ in range(5):
            assert stranger.get("/healthz").status_code == 200
        assert len(looks) == 1


class TestMetrics:
    def test_the_gauges_are_those_of_the_command(self, queue: Queue, probe: Any) -> None:
        queue.enqueue("true")
        answer = probe.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert 'state="pending"} 1.0' in answer.text
        assert list(text_string_to_metric_families(answer.text))

    def test_an_unreadable_spool_is_reported(self, probe: Any, root: Any) -> None:
        root.rename(root.with_name("gone"))
        answer = probe.get("/metrics")
        assert answer.status_code == 200
        assert "queuectl_up{" in answer.text
        assert "queuectl_jobs" not in answer.text

    def test_the_token_is_required(self, stranger: Any) -> None:
        assert stranger.get("/metrics").status_code == 401
        assert stranger.get("/metrics", headers=BEARER).status_code == 200

    def test_without_the_extra_the_answer_says_what_to_install(
        self, probe: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "queuectl.view.metrics", raising=False)
        monkeypatch.delattr("queuectl.view.metrics", raising=False)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        answer = probe.get("/metrics")
        assert answer.status_code == 501
        assert "run `pip install '.[metrics]'`" in answer.text

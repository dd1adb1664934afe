"""What machines ask of the page."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from queuectl import Queue
from queuectl.web.app import make_app
from queuectl.web.guard import Access


@pytest.fixture
def client(tmp_path):
    queue = Queue(tmp_path / "spool")
    with TestClient(make_app(queue, Access(host="127.0.0.1", port=80)),
                    base_url="http://127.0.0.1") as client:  # fmt: skip
        client.queue = queue
        yield client


def test_a_healthy_queue_is_said_to_be_so(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "healthy\n")


def test_a_queue_that_is_not_well_says_why(client):
    client.queue.enqueue("true")  # and no worker lives
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.text.startswith("workers: ")


def test_the_gauges_are_those_of_the_command(client):
    client.queue.enqueue("true")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'state="pending"} 1.0' in answer.text

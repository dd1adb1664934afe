"""`logs`: the end of a long output, several jobs at a time, and the log of a worker."""

from __future__ import annotations

import pytest
from helpers.commands import Eventually, Queuectl, Spool, StartWorker


@pytest.fixture
def two(queuectl: Queuectl, spool: Spool, worker: StartWorker) -> None:
    """Two jobs that have ended; the last line of one has no end."""
    queuectl("enqueue", "--id", "a", "seq 100000")
    queuectl("enqueue", "--id", "long-id", "printf 'x\\ny'")
    worker("--drain").left()
    assert spool.is_in("completed", "a", "long-id")


class TestTail:
    @pytest.mark.parametrize(
        ("words", "shown"),
        [
            (["a", "--tail", "2"], "99999\n100000\n"),
            (["a", "-n", "1"], "100000\n"),
            (["long-id", "--tail", "1"], "y"),
            (["long-id", "--tail", "9"], "x\ny"),
            (["a", "--follow", "--tail", "2"], "99999\n100000\n"),
        ],
        ids=lambda words: " ".join(words),
    )
    def test_prints_the_last_lines(
        self, two: None, queuectl: Queuectl, words: list[str], shown: str
    ) -> None:
        assert queuectl("logs", *words).out == shown

    def test_counts_lines_across_the_pieces_that_are_read(
        self, two: None, queuectl: Queuectl
    ) -> None:
        lines = queuectl("logs", "a", "--tail", "99998").out.splitlines()
        assert (lines[0], len(lines)) == ("3", 99998)


class TestSeveral:
    @pytest.mark.parametrize("follow", [[], ["--follow"]], ids=["", "followed"])
    def test_have_their_ids_in_front_of_each_line(
        self, two: None, queuectl: Queuectl, follow: list[str]
    ) -> None:
        lines = queuectl("logs", "a", "long-id", "--tail", "2", *follow).out.splitlines()
        assert sorted(lines) == [
            "a       | 100000", "a       | 99999", "long-id | x", "long-id | y"
        ]  # fmt: skip

    def test_are_an_array_as_json(self, two: None, queuectl: Queuectl) -> None:
        documents = queuectl.json("logs", "long-id", "a", "--tail", "1")
        assert [each["output"] for each in documents] == ["y", "100000\n"]


class TestWithoutAWorker:
    def test_one_who_waits_is_told(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "--id", "a", "true")
        assert "no worker is running" in queuectl("wait", "a", "--timeout", "0.1", code=124).err
        process = queuectl.start("logs", "a", "--follow")
        assert "no worker is running" in process.stderr.readline()
        process.kill()
        process.communicate(timeout=60)

    def test_one_whose_job_has_ended_is_not(self, two: None, queuectl: Queuectl) -> None:
        assert queuectl("wait", "a").err == ""


class TestTheLogOfAWorker:
    def test_is_that_of_the_only_one_in_the_background(
        self, queuectl: Queuectl, spool: Spool, eventually: Eventually
    ) -> None:
        queuectl("init")
        assert "no worker has a log" in queuectl.error("worker", "logs")
        queuectl("enqueue", "--id", "a", "true")
        name = queuectl("worker", "start", "--detach").out.strip()
        eventually(lambda: spool.is_in("completed", "a"))
        eventually(lambda: "completed" in queuectl("worker", "logs").out)
        assert "completed" in queuectl("worker", "logs", name[:-2], "--tail", "1").out
        assert queuectl.json("worker", "logs")["worker"] == name
        following = queuectl.start("worker", "logs", name, "--follow")
        queuectl("worker", "stop", "--wait")
        assert f"worker {name} started" in following.communicate(timeout=60)[0]
        assert "no worker name begins" in queuectl.error("worker", "logs", "x", code=1)

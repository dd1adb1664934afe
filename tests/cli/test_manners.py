"""The words, forms and mistakes that people try first: each leads them where they wanted to go."""

from __future__ import annotations

import json

import pytest
from helpers.commands import Queuectl, Spool, StartWorker


class TestRetryAll:
    def test_with_nothing_dead_says_so(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "true")
        assert queuectl("dlq", "retry", "--all").err == "no dead jobs\n"
        assert queuectl.json("dlq", "retry", "--all") == []

    def test_with_an_id_is_refused(self, queuectl: Queuectl) -> None:
        assert "leave out the ids" in queuectl.error("dlq", "retry", "--all", "a")


def test_a_state_may_be_given_twice(queuectl: Queuectl) -> None:
    queuectl("enqueue", "-", input='{"id":"a","command":"true"}\n{"id":"b","command":"true"}')
    queuectl("cancel", "a")
    listed = queuectl.json("list", "--state", "dead", "-s", "pending", "-s", "dead")
    assert [job["id"] for job in listed] == ["a", "b"]
    assert (
        queuectl("list", "-s", "failed", "-s", "completed").err == "no failed or completed jobs\n"
    )
    purged = queuectl.json("purge", "-s", "completed", "-s", "dead", "--older-than", "0")
    assert purged == {"removed": 1}


class TestArrays:
    def test_an_array_of_jobs_is_taken_as_an_argument(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        jobs = '[{"id":"a","command":"true"}, {"id":"b","command":"true"}]'
        assert queuectl("enqueue", "-p", "3", jobs).out == "a\nb\n"
        assert [spool.record(job)["priority"] for job in "ab"] == [3, 3]

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (['[{"command":"true"}, {"command":""}]'], "item 2"),
            (['[{"command":"true"},'], "not a JSON array"),
            (['["ls", "-la"]'], "item 1: not a JSON object"),
            (["--id", "x", '[{"command":"true"}]'], "--id"),
        ],
    )
    def test_a_wrong_one_is_refused(
        self, queuectl: Queuectl, words: list[str], reason: str
    ) -> None:
        assert reason in queuectl.error("enqueue", *words)

    @pytest.mark.parametrize("test", ["[ -f /tmp/x ] && true", '["$x" = 1 ] || true'])
    def test_a_test_of_the_shell_is_none(self, queuectl: Queuectl, spool: Spool, test: str) -> None:
        queuectl("enqueue", "--id", "a", test)
        assert spool.record("a")["command"] == test


class TestNearMisses:
    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("delay", "run_at"), ("retries", "max_retries"), ("maxRetries", "max_retries"),
            ("max-retries", "max_retries"), ("timout", "timeout"), ("Priority", "priority"),
            ("environment", "env"), ("workdir", "cwd"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("form", ["argument", "array", "stdin"])
    def test_are_told_and_kept(
        self, queuectl: Queuectl, spool: Spool, key: str, meant: str, form: str
    ) -> None:
        job = json.dumps({"id": "a", "command": "true", key: 1})
        text = f"[{job}]" if form == "array" else job
        word, given = ("-", text) if form == "stdin" else (text, "")
        said = queuectl("enqueue", word, input=given).err
        assert said == f"unknown field {key!r} is kept but has no effect: did you mean {meant!r}?\n"
        assert spool.record("a")[key] == 1

    def test_of_many_jobs_are_told_once(self, queuectl: Queuectl) -> None:
        lines = '{"command":"true","delay":1}\n' * 3
        assert len(queuectl("enqueue", "-", input=lines).err.splitlines()) == 1

    def test_a_key_of_ones_own_is_no_matter(self, queuectl: Queuectl) -> None:
        assert queuectl("enqueue", '{"command":"true","note":1}').err == ""

    @pytest.mark.parametrize("key", ["delay", "note"])
    @pytest.mark.parametrize("form", ["argument", "stdin"])
    def test_strict_refuses_every_unknown_field(
        self, queuectl: Queuectl, spool: Spool, key: str, form: str
    ) -> None:
        job = json.dumps({"command": "true", key: 1})
        word, given = ("-", '{"command":"true"}\n' + job) if form == "stdin" else (job, "")
        assert f"unknown field '{key}'" in queuectl.error("enqueue", "--strict", word, input=given)
        assert spool.count("pending") == 0


class TestLines:
    def test_each_is_a_shell_command(self, queuectl: Queuectl, spool: Spool) -> None:
        text = 'echo "a b"\n\n  {x}\t\n# no comment\n'
        ids = queuectl("enqueue", "--lines", "-p", "2", input=text).out.split()
        records = [spool.record(job) for job in ids]
        assert [r["command"] for r in records] == ['echo "a b"', "{x}", "# no comment"]
        assert {(r["cwd"], r["priority"]) for r in records} == {(str(queuectl.cwd), 2)}

    @pytest.mark.parametrize("words", [["true"], ["--id", "a"], ["--", "true"]], ids=" ".join)
    def test_are_all_there_is(self, queuectl: Queuectl, words: list[str]) -> None:
        queuectl.error("enqueue", "--lines", *words, input="true\n")

    def test_one_that_is_wrong_refuses_all(self, queuectl: Queuectl, spool: Spool) -> None:
        message = queuectl.error("enqueue", "--lines", input="true\na\0b\n")
        assert "line 2" in message
        assert spool.count("pending") == 0


class TestAProgramWithoutDashes:
    @pytest.mark.parametrize(
        ("words", "advice"),
        [
            (["ls", "-la"], "enqueue -- ls -la"),
            (["-p", "3", "ls", "/tmp"], "enqueue -- ls /tmp"),
            (["convert", "my photo.jpg", "x"], "enqueue -- convert 'my photo.jpg' x"),
        ],
    )
    def test_leads_to_the_dashes(self, queuectl: Queuectl, words: list[str], advice: str) -> None:
        assert advice in queuectl.error("enqueue", *words)


class TestWords:
    @pytest.mark.parametrize(
        ("words", "same"),
        [
            (["ls"], ["list"]), (["dlq", "ls"], ["dlq", "list"]),
            (["worker", "status"], ["worker", "list"]), (["config", "ls"], ["config", "list"]),
            (["help"], ["--help"]), (["help", "list"], ["list", "--help"]),
            (["help", "worker", "stop"], ["worker", "stop", "--help"]),
            (["worker", "help"], ["worker", "--help"]),
            (["config", "get", "max-retries"], ["config", "get", "max_retries"]),
        ],
        ids=lambda words: " ".join(words),
    )  # fmt: skip
    def test_that_people_try_lead_where_they_should(
        self, queuectl: Queuectl, words: list[str], same: list[str]
    ) -> None:
        queuectl("init")
        assert queuectl(*words) == queuectl(*same)

    def test_that_change_something_do_so_too(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("add", "--id", "a", "true")
        queuectl("cancel", "a")
        assert queuectl("retry", "a").out == "a pending\n"
        queuectl("cancel", "a")
        assert queuectl("rm", "a").out == "a removed\n"
        queuectl("config", "set", "max-retries", "7")
        assert queuectl("config", "get", "max_retries").out == "7\n"
        queuectl("config", "unset", "max-retries")
        assert queuectl("config", "get", "max_retries").out == "3\n"

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            (["stop"], "`queuectl worker stop`"), (["statsu"], "`queuectl status`"),
            (["worker", "strat"], "`queuectl worker start`"), (["tail"], "logs --follow"),
            (["pause"], "`queuectl --help` lists"), (["pruge"], "`queuectl --help` lists"),
            (["cancle"], "`queuectl --help` lists"), (["dlq", "prge"], "`queuectl dlq --help`"),
        ],
        ids=lambda words: " ".join(words),
    )  # fmt: skip
    def test_that_are_none_get_a_hint_that_destroys_nothing(
        self, queuectl: Queuectl, words: list[str], hint: str
    ) -> None:
        message = queuectl.error(*words)
        assert hint in message
        assert not any(f"`queuectl {word}" in message for word in ("purge", "cancel", "remove"))


class TestBeforeASpoolExists:
    @pytest.mark.parametrize(
        ("words", "shown"),
        [
            (["status", "--json"], '"pending": 0'),
            (["list", "--json"], "[]"),
            (["dlq", "list", "--json"], "[]"),
            (["worker", "list", "--json"], "[]"),
            (["config", "list"], "max_retries"),
            (["config", "get", "max_retries"], "3"),
        ],
        ids=lambda words: " ".join(words),
    )
    def test_a_look_shows_an_empty_queue(
        self, queuectl: Queuectl, spool: Spool, words: list[str], shown: str
    ) -> None:
        result = queuectl(*words)
        assert shown in result.out
        assert f"there is no spool at {spool.root} yet" in result.err
        assert not spool.root.exists()

    def test_init_makes_one(self, queuectl: Queuectl, spool: Spool) -> None:
        for _ in range(2):
            assert queuectl("init").out == f"{spool.root}\n"
        assert (spool.root / "pending").is_dir()


class TestRemove:
    @pytest.fixture
    def ended(self, queuectl: Queuectl, spool: Spool, worker: StartWorker) -> None:
        queuectl("enqueue", "--id", "a-1", "echo out")
        queuectl("enqueue", "--id", "waits", "--delay", "1h", "true")
        worker("--drain").left()
        assert spool.is_in("completed", "a-1")

    def test_takes_a_job_and_its_logs_away(
        self, ended: None, queuectl: Queuectl, spool: Spool
    ) -> None:
        assert queuectl.json("remove", "a-1") == [{"id": "a-1", "result": "a-1"}]
        assert spool.find("a-1") is None
        assert not list((spool.root / "logs").iterdir())

    def test_leaves_jobs_that_have_not_ended(
        self, ended: None, queuectl: Queuectl, spool: Spool
    ) -> None:
        assert "cancel it first" in queuectl("remove", "waits", code=1).err
        assert spool.is_in("pending", "waits")

    def test_takes_no_prefix_from_a_script(
        self, ended: None, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl("remove", "a", code=1)
        assert spool.is_in("completed", "a-1")

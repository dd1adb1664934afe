"""`enqueue`: the forms a job is given in, the options, where a job runs, whose id it has."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker

LIST_OF_FIELDS = {
    "priority": 7,
    "max_retries": 1,
    "timeout": 90,
    "run_at": "2099-01-02T03:04:05Z",
    "cwd": "/usr",
    "env": {"A": "1", "B": "2"},
}


class TestTheFormsOfAJob:
    def test_a_job_as_json_is_kept_with_what_else_stands_in_it(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl("enqueue", '{"id":"a","command":"true","colour":{"deep":[1.50, 1e400]}}')
        assert '"deep": [\n      1.50,\n      1e400\n    ]' in spool.where("a")[1].read_text()

    def test_a_string_is_a_shell_command(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "--id", "a", "echo $HOME | wc -c")
        assert spool.record("a")["command"] == "echo $HOME | wc -c"

    @pytest.mark.parametrize(
        "words",
        [
            ["printf", "%s", "two words"],
            ["ls", "-l", "--all", "--id", "b", "--help"],
            ["echo", "--", "-", ""],
            ["{", "}"],
            ["echo", "Grüße 日本"],
        ],
    )
    def test_after_two_dashes_comes_a_program_whatever_its_arguments_look_like(
        self, queuectl: Queuectl, spool: Spool, words: list[str]
    ) -> None:
        queuectl("enqueue", "--id", "a", "--", *words)
        assert spool.record("a")["command"] == words

    def test_every_field_of_the_json_is_kept(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", json.dumps({"id": "a", "command": "true", **LIST_OF_FIELDS}))
        record = spool.record("a")
        assert {name: record[name] for name in LIST_OF_FIELDS} == LIST_OF_FIELDS

    def test_what_only_queuectl_writes_is_not_taken_from_the_json(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        queuectl(
            "enqueue",
            '{"id":"a","command":"true","state":"dead","attempts":3,'
            '"created_at":"2001-01-01T00:00:00Z",'
            '"history":[{"attempt":1,"outcome":"ok"}]}',
        )
        record = spool.record("a")
        assert "state" not in record
        assert record.get("attempts", 0) == 0
        assert not record.get("history")
        assert not record["created_at"].startswith("2001")


class TestTheOptions:
    @pytest.mark.parametrize(
        ("option", "field", "value"),
        [
            (["--priority", "7"], "priority", 7),
            (["--priority", "-7"], "priority", -7),
            (["--max-retries", "0"], "max_retries", 0),
            (["--timeout", "1.5"], "timeout", 1.5),
            (["--timeout", "1h30m"], "timeout", 5400),
            (["--cwd", "/usr"], "cwd", "/usr"),
            (["--env", "A=1", "--env", "B=x=y", "--env", "C="], "env",
             {"A": "1", "B": "x=y", "C": ""}),
            (["--run-at", "2099-01-02T03:04:05Z"], "run_at", "2099-01-02T03:04:05.000000Z"),
            (["--run-at", "2099-01-02T03:04:05+02:00"], "run_at", "2099-01-02T01:04:05.000000Z"),
            (["--run-at", "2099-01-02 03:04"], "run_at", "2099-01-02T03:04:00.000000Z"),
        ],
    )  # fmt: skip
    def test_an_option_sets_its_field(
        self, queuectl: Queuectl, spool: Spool, option: str, field: str, value: str
    ) -> None:
        queuectl("enqueue", "--id", "a", *option, "true", TZ="UTC")
        assert spool.record("a")[field] == value

    @pytest.mark.parametrize(("delay", "seconds"), [("90", 90), ("10m", 600), ("1h30m", 5400)])
    def test_a_delay_counts_from_now(
        self, queuectl: Queuectl, spool: Spool, delay: str, seconds: float
    ) -> None:
        before = datetime.now(UTC)
        queuectl("enqueue", "--id", "a", "--delay", delay, "true")
        run_at = datetime.fromisoformat(spool.record("a")["run_at"]) - timedelta(seconds=seconds)
        assert before <= run_at <= datetime.now(UTC)

    def test_a_relative_cwd_is_made_absolute(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "--id", "a", "--cwd", "..", "true")
        assert spool.record("a")["cwd"] == str(queuectl.cwd.parent)

    @pytest.mark.parametrize(
        ("option", "field", "value"),
        [
            (["--id", "b"], "id", "b"),
            (["--priority", "1"], "priority", 1),
            (["--max-retries", "9"], "max_retries", 9),
            (["--timeout", "1"], "timeout", 1),
            (["--cwd", "/"], "cwd", "/"),
            (["--run-at", "2098-01-01T00:00:00Z"], "run_at", "2098-01-01T00:00:00.000000Z"),
            (["--env", "B=3"], "env", {"A": "1", "B": "3"}),
        ],
    )
    def test_an_option_wins_over_the_json(
        self, queuectl: Queuectl, spool: Spool, option: str, field: str, value: str
    ) -> None:
        said = json.dumps({"id": "a", "command": "true", "extra": 1, **LIST_OF_FIELDS})
        printed = queuectl("enqueue", *option, said).out.strip()
        record = spool.record(printed)
        assert record[field] == value
        assert record["extra"] == 1

    def test_options_hold_for_every_job_of_the_input(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        lines = '{"id":"a","command":"true","priority":1}\n{"id":"b","command":"true"}\n'
        queuectl("enqueue", "--priority", "5", "-", input=lines)
        assert [spool.record(job_id)["priority"] for job_id in "ab"] == [5, 5]


class TestWhereAJobRuns:
    @pytest.mark.parametrize("words", [["pwd"], ["--", "pwd"]], ids=["shell", "program"])
    def test_a_command_runs_where_it_was_enqueued(
        self, queuectl: Queuectl, spool: Spool, tmp_path: Path, words: list[str]
    ) -> None:
        queuectl("enqueue", "--id", "a", *words, cwd=tmp_path)
        assert spool.record("a")["cwd"] == str(tmp_path)

    def test_json_says_itself_where(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", '{"id":"a","command":"pwd"}')
        assert "cwd" not in spool.record("a")


class TestTheSpool:
    def test_it_is_made_private(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "--id", "a", "true")
        modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (spool.root, spool.where("a")[1])}
        assert modes == {"spool": "0o700", "a.json": "0o600"}

    @pytest.mark.parametrize("where", ["before", "after"])
    def test_the_option_wins_over_the_environment(
        self, queuectl: Queuectl, spool: Spool, tmp_path: Path, where: str
    ) -> None:
        option = ["--spool", str(tmp_path / "other")]
        words = ["enqueue", "--id", "a", "true"]
        queuectl(*option, *words) if where == "before" else queuectl("enqueue", *option, *words[1:])
        assert (tmp_path / "other/pending/a.json").exists()
        assert not spool.root.exists()

    @pytest.mark.parametrize(
        ("variables", "place"),
        [({}, "home/.local/state/queuectl"), ({"XDG_STATE_HOME": "../state"}, "state/queuectl")],
    )
    def test_without_either_it_is_in_the_state_directory(
        self, queuectl: Queuectl, tmp_path: Path, variables: dict[str, str], place: str
    ) -> None:
        queuectl("enqueue", "--id", "a", "true", env={"QUEUECTL_SPOOL": "", **variables})
        assert (tmp_path / place / "pending/a.json").exists()

    def test_a_directory_that_holds_something_else_is_refused(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        spool.root.mkdir()
        (spool.root / "thesis.tex").touch()
        assert "not a spool" in queuectl.error("enqueue", "true", code=1)


class TestTheId:
    def test_it_is_all_that_is_printed(self, queuectl: Queuectl, spool: Spool) -> None:
        printed = queuectl("enqueue", "true")
        assert spool.is_in("pending", printed.out.removesuffix("\n"))
        assert printed.err == ""

    def test_it_is_printed_as_json(self, queuectl: Queuectl) -> None:
        assert queuectl.json("enqueue", "true", "--id", "a") == {"id": "a"}

    def test_many_are_printed_in_the_order_of_the_input(self, queuectl: Queuectl) -> None:
        lines = "".join(f'{{"id":"j{n}","command":"true"}}\n' for n in (3, 1, 2))
        assert queuectl("enqueue", "-", input=lines).out == "j3\nj1\nj2\n"

    def test_many_are_printed_as_json(self, queuectl: Queuectl) -> None:
        lines = '{"id":"a","command":"true"}\n{"id":"b","command":"true"}\n'
        assert queuectl.json("enqueue", "-", input=lines) == {"ids": ["a", "b"]}

    @pytest.mark.parametrize("state", ["pending", "processing", "failed", "completed", "dead"])
    def test_one_that_is_taken_is_refused_in_every_state(
        self,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
        state: str,
    ) -> None:
        settings(backoff_base=1000)
        commands = {
            "pending": ["--delay", "1h", "true"],
            "processing": ["sleep 100"],
            "failed": ["false"],
            "completed": ["true"],
            "dead": ["--max-retries", "0", "false"],
        }
        queuectl("enqueue", "--id", "a", *commands[state])
        worker()
        eventually(lambda: spool.is_in(state, "a"))
        message = queuectl.error("enqueue", "--id", "a", "true", code=1)
        assert "a exists already" in message
        assert state in message

    def test_of_eight_at_the_same_time_one_gets_it(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "true")
        tries = [queuectl.start("enqueue", "--id", "same", f"echo {n}") for n in range(8)]
        ended = [(each.communicate(timeout=60), each.returncode) for each in tries]
        assert sorted(code for _, code in ended) == [0] + [1] * 7
        winner = next(n for n, (_, code) in enumerate(ended) if code == 0)
        assert spool.record("same")["command"] == f"echo {winner}"

    def test_a_prefix_of_another_is_free(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "--id", "abc", "true")
        assert queuectl("enqueue", "--id", "ab", "true").out == "ab\n"


def test_the_order_of_a_batch_is_the_order_in_which_it_runs(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    jobs = [{"command": f"echo {n} >> {ran}"} for n in range(30)]
    queuectl("enqueue", "-", input=json.dumps(jobs))
    worker("--count", "1")
    eventually(lambda: spool.count("completed") == 30)
    assert ran.read_text().split() == [str(n) for n in range(30)]


def test_no_two_jobs_of_a_batch_are_equally_old(queuectl: Queuectl, spool: Spool) -> None:
    """Else their order is by lot; ten batches, as it depends on the instant of each."""
    lines = '{"command":"true"}\n' * 20
    batches = [queuectl("enqueue", "-", input=lines).out.split() for _ in range(10)]
    ages = [[spool.record(job_id)["created_at"] for job_id in batch] for batch in batches]
    assert [sorted(set(batch)) for batch in ages] == ages


def test_an_acknowledged_job_needs_no_worker_to_be_there(
    queuectl: Queuectl, spool: Spool, worker: StartWorker, eventually: Eventually
) -> None:
    queuectl("enqueue", "--id", "a", "true")
    assert queuectl.json("status")["jobs"]["pending"] == 1
    worker()
    eventually(lambda: spool.is_in("completed", "a"))


class TestSecrets:
    def test_a_name_alone_takes_the_callers_value(self, queuectl: Queuectl, spool: Spool) -> None:
        queuectl("enqueue", "--id", "a", "-e", "TOKEN", "-e", "B=2", "true", TOKEN="x=y")
        assert spool.record("a")["env"] == {"TOKEN": "x=y", "B": "2"}

    def test_a_name_that_is_not_set_is_refused(self, queuectl: Queuectl) -> None:
        assert "NOTHING=VALUE" in queuectl.error("enqueue", "--env", "NOTHING", "true")

    @pytest.fixture
    def open_spool(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            for path in Path(directory), Path(directory, "spool"):
                path.mkdir(exist_ok=True)
                path.chmod(0o755)
            yield Path(directory, "spool")

    @pytest.mark.parametrize(
        "words",
        [
            ["--env", "TOKEN=x", "true"],
            ['{"command": "true", "env": {"TOKEN": "x"}}'],
            ['[{"command": "true", "env": {"TOKEN": "x"}}, {"command": "true"}]'],
        ],
    )
    def test_an_environment_that_all_users_can_read_is_told_with_what_helps(
        self, queuectl: Queuectl, open_spool: Path, words: list[str]
    ) -> None:
        command = ["--spool", str(open_spool), "enqueue"]
        assert f"chmod 700 {open_spool}" in queuectl(*command, *words).err
        assert queuectl(*command, "true").err == ""
        open_spool.chmod(0o700)
        assert queuectl(*command, *words).err == ""

    def test_nor_where_nobody_else_can_reach_the_spool(
        self, queuectl: Queuectl, open_spool: Path
    ) -> None:
        open_spool.parent.chmod(0o700)
        assert queuectl("--spool", str(open_spool), "enqueue", "-e", "A=1", "true").err == ""

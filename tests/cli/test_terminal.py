"""What reaches a terminal, a pipe that closes, a shell's completion; and what must not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2J"


@pytest.fixture
def on_terminal(queuectl: Queuectl) -> Callable[..., str]:
    """Run a command on a pseudo terminal of so many columns; return what appears there."""

    def run(
        *words: str,
        columns: int = 80,
        lines: int = 24,
        typed: str = "",
        code: int = 0,
        **environment: str,
    ) -> Any:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.write(leader, typed.encode())
        variables = {**queuectl.environment, "TERM": "xterm", **environment}
        process = subprocess.Popen(
            [queuectl.program, *words], stdin=follower, stdout=follower, stderr=follower,
            env=variables, cwd=queuectl.cwd,
        )  # fmt: skip
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the last process has let go of it
            while data := os.read(leader, 65536):
                shown += data
        os.close(leader)
        assert process.wait(60) == code, shown
        return shown.decode()

    return run


@pytest.fixture
def long_jobs(queuectl: Queuectl) -> None:
    lines = [
        {"id": "a-very-long-name-of-a-job-" + "x" * 60, "command": "true"},
        {"id": "b", "command": "echo " + "long words " * 30, "priority": 3},
        {"id": "c", "command": "echo " + "日本語" * 40},
    ]  # fmt: skip
    queuectl("enqueue", "-", input=json.dumps(lines))


def width(line: str) -> int:
    return sum(1 if ord(character) < 0x1100 or character == "…" else 2 for character in line)


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("words", [["list"], ["dlq", "list"]], ids=" ".join)
def test_a_table_fits_the_terminal(
    long_jobs: None,
    queuectl: Queuectl,
    on_terminal: Callable[..., str],
    columns: int,
    words: list[str],
) -> None:
    if words == ["dlq", "list"]:
        queuectl("cancel", "a", "b", "c")
    lines = on_terminal(*words, columns=columns, NO_COLOR="1").splitlines()
    assert len(lines) == 4
    assert max(map(width, lines)) <= columns


def test_a_table_in_a_pipe_is_whole(long_jobs: None, queuectl: Queuectl) -> None:
    assert "long words " * 29 in queuectl("list").out


class TestColour:
    def test_a_terminal_gets_it(self, long_jobs: None, on_terminal: Callable[..., str]) -> None:
        assert "\x1b[" in on_terminal("list")

    @pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
    def test_unless_it_wants_none(
        self, long_jobs: None, on_terminal: Callable[..., str], variable: dict[str, str]
    ) -> None:
        assert "\x1b[" not in on_terminal("list", **variable)

    @pytest.mark.parametrize("words", [["list"], ["status"], ["show", "b"], ["config", "list"]])
    def test_a_pipe_gets_none(self, long_jobs: None, queuectl: Queuectl, words: list[str]) -> None:
        assert "\x1b[" not in queuectl(*words, TERM="xterm").out

    def test_json_has_none(self, long_jobs: None, on_terminal: Callable[..., str]) -> None:
        assert json.loads(on_terminal("list", "--json"))


def test_on_a_terminal_the_one_who_enqueues_is_told_that_nobody_works(
    on_terminal: Callable[..., str],
) -> None:
    assert "queuectl worker start" in on_terminal("enqueue", "true")


def test_but_only_at_the_first_job_that_waits(on_terminal: Callable[..., str]) -> None:
    on_terminal("enqueue", "true")
    assert "worker start" not in on_terminal("enqueue", "true")


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["config", "list"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(queuectl: Queuectl, words: list[str]) -> None:
    queuectl(
        "enqueue", "-", input='{"command":"' + "x" * 500 + '"}\n' + '{"command":"true"}\n' * 800
    )
    process = queuectl.start(*words)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(60)
    assert said == ""


class TestHostileText:
    """A job may come from anyone who may write to pending/; a terminal obeys what it is sent."""

    @pytest.fixture(
        params=[
            {"command": f"echo {ESCAPE}"},
            {"command": ["echo", ESCAPE]},
            {"command": [ESCAPE]},
            {"command": "true", "cwd": f"/{ESCAPE}"},
            {"command": "true", "note": ESCAPE},
            {"command": "true", ESCAPE: 1},
            {"command": "true", "env": {ESCAPE: "x"}},
            {"command": "true", "env": {ESCAPE + "=": "x"}},
            {"command": "true", "id": ESCAPE},
            {"command": "true", "priority": 1, "timeout": ESCAPE},
        ],
        ids=["command", "argument", "program", "cwd", "value", "key", "variable", "bad variable",
             "id", "bad value"],
    )  # fmt: skip
    def dead(
        self,
        request: pytest.FixtureRequest,
        queuectl: Queuectl,
        spool: Spool,
        settings: Configure,
        worker: StartWorker,
        eventually: Eventually,
    ) -> Any:
        """Text that a job brings, when all there is to say of the job has been said."""
        settings(max_retries=0)
        process = worker()
        spool.drop("a.json", json.dumps(request.param))
        eventually(lambda: spool.count("dead") + spool.count("completed") == 1)
        if spool.count("completed"):
            return process
        eventually(lambda: "dead" in process.said)
        return process

    @pytest.mark.parametrize(
        "words", [["list"], ["show", "a"], ["dlq", "list"], ["status"]], ids=" ".join
    )
    def test_it_does_not_reach_the_output(
        self, dead: Any, queuectl: Queuectl, words: list[str]
    ) -> None:
        result = queuectl(*words)
        assert "\x1b" not in result.out + result.err
        assert "\x07" not in result.out + result.err

    def test_it_does_not_reach_what_a_worker_says(self, dead: Any) -> None:
        assert "\x1b" not in dead.said

    def test_it_comes_through_json_escaped(self, dead: Any, queuectl: Queuectl) -> None:
        assert "\x1b" not in queuectl("list", "--json").out


@pytest.mark.parametrize(
    "name",
    [f"{ESCAPE}.json".encode(), b"new\nline.json", b"\xff\xfe.json", "ünïcödé 日本.json".encode()],
    ids=["escape sequences", "a newline", "no UTF-8", "other letters"],
)
class TestHostileNames:
    @pytest.fixture(params=["pending", "dead"])
    def listed(
        self, request: pytest.FixtureRequest, name: bytes, settings: Configure, spool: Spool
    ) -> None:
        settings()
        directory = os.fsencode(spool.root / request.param)
        with open(os.path.join(directory, name), "w") as file:
            file.write('{"command": "true"}')

    def test_a_list_spells_them_out_on_one_line(self, listed: None, queuectl: Queuectl) -> None:
        result = queuectl("list")
        assert "\x1b" not in result.out
        assert len(result.out.splitlines()) == 2

    def test_a_list_as_json_has_them_too(self, listed: None, queuectl: Queuectl) -> None:
        assert len(queuectl.json("list")) == 1

    def test_to_retry_all_dead_ones_does_not_fail_on_them(
        self, listed: None, queuectl: Queuectl
    ) -> None:
        result = queuectl("dlq", "retry", "--all", code=None)
        assert "\x1b" not in result.out + result.err
        assert "this is a bug" not in result.err


def test_an_error_spells_out_what_it_was_given(queuectl: Queuectl, settings: Configure) -> None:
    settings()
    assert "\x1b" not in queuectl.error("show", ESCAPE, code=1)
    assert "\x1b" not in queuectl.error("enqueue", "--id", ESCAPE, "true")


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_of_a_shell_is_printed(self, queuectl: Queuectl, shell: str) -> None:
        script = queuectl("--version", _QUEUECTL_COMPLETE=f"source_{shell}").out
        assert "_QUEUECTL_COMPLETE" in script

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("queuectl wor", "worker"),
            ("queuectl show app", "apple"),
            ("queuectl config get back", "backoff_base"),
            ("queuectl list --state pro", "processing"),
        ],
    )
    def test_what_may_come_next_is_completed(
        self, queuectl: Queuectl, line: str, expected: str
    ) -> None:
        queuectl("enqueue", "--id", "apple", "true")
        result = queuectl(
            _QUEUECTL_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(line.count(" ")),
            code=None,
        )
        assert expected in result.out.split()


class TestAPurgeOfAllDeadJobs:
    @pytest.fixture(autouse=True)
    def dead(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "--id", "a", "true")
        queuectl("cancel", "a")

    @pytest.mark.parametrize("answer", ["n\n", "\n"])
    def test_asks_at_a_terminal(
        self, spool: Spool, on_terminal: Callable[..., str], answer: str
    ) -> None:
        assert "Remove 1 dead job" in on_terminal("dlq", "purge", typed=answer, code=1)
        assert spool.is_in("dead", "a")

    @pytest.mark.parametrize(("words", "typed"), [(["--yes"], ""), ([], "y\n")], ids=str)
    def test_removes_them_if_that_is_wanted(
        self, spool: Spool, on_terminal: Callable[..., str], words: list[str], typed: str
    ) -> None:
        assert "1 removed" in on_terminal("dlq", "purge", *words, typed=typed)
        assert spool.find("a") is None


def test_a_list_of_80_columns_keeps_ids_and_commands(
    queuectl: Queuectl, on_terminal: Callable[..., str]
) -> None:
    lines = [{"id": f"backup-of-host-{n:04}", "command": f"rsync -a /srv/{n}/"} for n in range(3)]
    queuectl("enqueue", "-", input=json.dumps(lines))
    queuectl("cancel", "backup-of-host-0002")
    shown = on_terminal("list", NO_COLOR="1")
    for line in lines:
        assert line["id"] in shown
        assert line["command"] in shown
    assert "cancelled" in shown  # the last error of one: not an empty column
    header = shown.splitlines()[0].split()
    assert not {"PRI", "TOOK", "NEXT"} & {*header}


class TestAPager:
    @pytest.fixture(autouse=True)
    def jobs(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "-", input='{"command":"true"}\n' * 8)

    @pytest.mark.parametrize(("lines", "paged"), [(6, True), (24, False)])
    def test_shows_a_list_that_does_not_fit(
        self, on_terminal: Callable[..., str], tmp_path: Path, lines: int, paged: bool
    ) -> None:
        seen = tmp_path / "seen"
        assert on_terminal("list", lines=lines, PAGER=f"tee {seen}").count("true") == 8
        assert seen.exists() == paged

    @pytest.mark.parametrize("pager", ["cat", "", "no-such-pager"])
    def test_is_not_needed(self, on_terminal: Callable[..., str], pager: str) -> None:
        assert on_terminal("list", lines=6, PAGER=pager).count("true") == 8

    def test_gets_nothing_from_a_pipe(self, queuectl: Queuectl, tmp_path: Path) -> None:
        queuectl("list", PAGER=f"tee {tmp_path / 'seen'}")
        assert not (tmp_path / "seen").exists()

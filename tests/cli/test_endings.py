"""How a command ends that something cuts short; and surroundings in which something is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.commands import Queuectl, Spool, StartWorker

INTERRUPTED_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def shell(queuectl: Queuectl, script: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a script of /bin/bash, in which $Q is the command."""
    return subprocess.run(
        ["/bin/bash", "-c", script],
        env={**queuectl.environment, "Q": str(queuectl.program)},
        cwd=queuectl.cwd,
        capture_output=True,
        timeout=60,
        check=False,
    )


class TestInterrupt:
    @pytest.mark.parametrize(
        "module",
        ["queuectl.errors", "msgspec", "typer", "queuectl.queue", "queuectl.cli.enqueue"],
    )
    def test_during_the_imports_it_ends_the_command_without_a_word(
        self, queuectl: Queuectl, tmp_path: Path, module: str
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(INTERRUPTED_IMPORT)
        environment = {"PYTHONPATH": str(tmp_path), "INTERRUPT_AT": module}
        result = queuectl("enqueue", "true", code=-signal.SIGINT, env=environment)
        assert (result.out, result.err) == ("", "")

    @pytest.fixture
    def talking(self, queuectl: Queuectl, worker: StartWorker) -> None:
        """A job that says so when it runs, and goes on."""
        queuectl("enqueue", "--id", "a", "echo it runs; sleep 600")
        worker()

    def test_a_command_that_waits_dies_by_it(self, queuectl: Queuectl, talking: None) -> None:
        process = queuectl.start("logs", "a", "--follow")
        assert process.stdout.readline() == "it runs\n"
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=60)[1]
        assert process.returncode == -signal.SIGINT

    def test_it_ends_the_loop_of_a_shell(self, queuectl: Queuectl, talking: None) -> None:
        loop = subprocess.Popen(
            ["/bin/bash", "-c", 'for i in 1 2; do "$Q" logs -f a; done'],
            env={**queuectl.environment, "Q": str(queuectl.program)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert loop.stdout.readline() == b"it runs\n"
        os.killpg(loop.pid, signal.SIGINT)  # as a terminal does
        assert loop.communicate(timeout=60)[0] == b""
        assert loop.returncode == -signal.SIGINT

    def test_one_that_is_ignored_stays_ignored(self, queuectl: Queuectl, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text(INTERRUPTED_IMPORT)
        script = f'trap "" INT; PYTHONPATH={tmp_path} INTERRUPT_AT=typer "$Q" enqueue true'
        assert shell(queuectl, script).returncode == 0


@pytest.mark.parametrize("words", ["list", "list --json", "config list", "dlq list --json"])
def test_a_reader_that_has_seen_enough_ends_it_by_sigpipe(queuectl: Queuectl, words: str) -> None:
    queuectl("enqueue", "-", input='{"command":"true"}\n' * 2)
    read, write = os.pipe()
    os.close(read)
    process = queuectl.start(*words.split(), stdout=write)
    os.close(write)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGPIPE


class TestClosedDescriptors:
    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    @pytest.mark.parametrize("words", ["enqueue true", "show a", "list --json", "enqueue -"])
    def test_a_command_does_its_work(self, queuectl: Queuectl, closed: str, words: str) -> None:
        queuectl("enqueue", "--id", "a", "true")
        done = shell(queuectl, f'"$Q" {words} {closed}')
        assert (done.returncode, done.stderr) == (0, b"")

    def test_a_spool_file_never_takes_the_place_of_stdout(
        self, queuectl: Queuectl, spool: Spool
    ) -> None:
        shell(queuectl, '"$Q" enqueue --id a true <&- >&- 2>&-')
        assert spool.record("a")["command"] == "true"


class TestADirectoryThatIsGone:
    def run(self, queuectl: Queuectl, words: str) -> subprocess.CompletedProcess[bytes]:
        return shell(queuectl, f'mkdir gone; cd gone; rmdir ../gone; "$Q" {words}')

    @pytest.mark.parametrize("words", ["enqueue --id a --cwd /tmp true", "list", "worker list"])
    def test_is_no_matter_to_a_command_that_does_not_need_it(
        self, queuectl: Queuectl, words: str
    ) -> None:
        queuectl("enqueue", "true")
        done = self.run(queuectl, words)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        ("words", "advice"),
        [
            ("enqueue true", b"--cwd"),
            ("enqueue -- true", b"--cwd"),
            ("enqueue --cwd here true", b"give an absolute path"),
            ("--spool here list", b"give an absolute path"),
        ],
    )
    def test_is_named_where_it_is_needed(
        self, queuectl: Queuectl, words: str, advice: bytes
    ) -> None:
        done = self.run(queuectl, words)
        assert done.returncode == 2
        assert b"current directory has been removed" in done.stderr
        assert advice in done.stderr


LATIN = {"PYTHONIOENCODING": "iso-8859-1"}


class TestALocaleOfEightBits:
    def test_text_that_it_lacks_is_escaped(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "--id", "a", "echo \u65e5")
        for words in ["list"], ["show", "a"]:
            assert "\\u65e5" in queuectl(*words, env=LATIN).out

    def test_json_is_utf8(self, queuectl: Queuectl) -> None:
        queuectl("enqueue", "--id", "a", "echo \u65e5")
        shown = json.loads(queuectl("show", "a", "--json", env=LATIN).out)
        assert shown["command"] == "echo \u65e5"

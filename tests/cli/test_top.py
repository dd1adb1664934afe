"""`queuectl top` in a real terminal: tmux types the keys and tells what the screen shows."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.commands import Configure, Eventually, Queuectl, Spool, StartWorker
from helpers.processes import WorkerProcess

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
NAP = "echo begun; sleep 300"


@dataclass
class Screen:
    """A terminal with a shell in it."""

    socket: Path
    home: Path
    environment: dict[str, str]
    eventually: Eventually

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *words],
            capture_output=True, text=True, env=self.environment, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def open(self, columns: int = 80, lines: int = 24) -> None:
        size = ("-x", str(columns), "-y", str(lines))
        # It ends by itself too, for the day on which the whole test run is killed.
        shell = "PS1='ready$ ' exec timeout --foreground 300 sh"
        self.tmux("new-session", "-d", *size, "-s", "t", "-c", str(self.home), shell)
        self.shows("ready$")

    def type(self, *keys: str) -> None:
        """Press keys, by their names for tmux."""
        self.tmux("send-keys", "-t", "t", *keys)

    def run(self, line: str) -> None:
        self.tmux("send-keys", "-t", "t", "-l", line)
        self.type("Enter")

    @property
    def text(self) -> str:
        """All that is shown; a line that wraps is one line, however long the path in it is."""
        return self.tmux("capture-pane", "-p", "-J", "-t", "t")

    @property
    def lines(self) -> list[str]:
        """The rows of the screen."""
        return self.tmux("capture-pane", "-p", "-t", "t").splitlines()

    def ask(self, name: str) -> str:
        """Ask tmux for one of its variables."""
        return self.tmux("display-message", "-p", "-t", "t", f"#{{{name}}}").strip()

    def shows(self, *texts: str, but: str = "") -> str:
        """Wait until all the texts are on the screen, and `but` is not."""
        found = [""]

        def seen() -> bool:
            found[0] = self.text
            return all(t in found[0] for t in texts) and not (but and but in found[0])

        try:
            self.eventually(seen)
        except BaseException:
            print(found[0])
            raise
        return found[0]


@pytest.fixture
def screen(queuectl: Queuectl, eventually: Eventually) -> Iterator[Screen]:
    """A terminal of our own server of tmux, which ends with the test."""
    if not shutil.which("tmux"):
        pytest.skip("needs tmux")
    # Not below the test's own directory: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="tmux-", dir="/tmp") as directory:
        socket = Path(directory) / "s"
        environment = {**queuectl.environment, "TERM": "xterm-256color", "SHELL": "/bin/sh"}
        environment["PATH"] = f"{queuectl.program.parent}:{environment['PATH']}"
        made = Screen(socket, queuectl.cwd, environment, eventually)
        yield made
        subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def top(screen: Screen) -> Callable[..., Screen]:
    """Start top in a terminal, and wait for its first screen."""

    def start(columns: int = 80, lines: int = 24) -> Screen:
        screen.open(columns, lines)
        screen.run("queuectl top; echo left with $?")
        screen.shows("queuectl top ", " co", but="left with")
        return screen

    return start


@pytest.fixture
def one_of_each(
    queuectl: Queuectl,
    spool: Spool,
    settings: Configure,
    worker: StartWorker,
    eventually: Eventually,
) -> WorkerProcess:
    settings(backoff_base=1000)
    queuectl("enqueue", "--id", "completed1", "echo hello")
    queuectl("enqueue", "--id", "failed1", "echo alas; exit 4")
    queuectl("enqueue", "--id", "dead1", "--max-retries", "0", "no-such-program")
    queuectl("enqueue", "--id", "processing1", NAP)
    queuectl("enqueue", "--id", "pending1", "--delay", "2h", "true")
    process = worker("--count", "4")
    states = ("completed", "failed", "dead", "processing", "pending")
    eventually(lambda: all(spool.is_in(state, f"{state}1") for state in states))
    return process


class TestWhatItShows:
    def test_counts_workers_and_slots(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        text = top().shows("[processing 1]", "pending 1", "failed 1", "completed 1", "dead 1")
        assert "1/4 busy" in text
        assert one_of_each.name in text

    def test_what_runs_and_for_how_long(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        text = top().shows("> processing1", NAP)
        assert f"{one_of_each.name[:10]}" in text

    def test_tab_goes_from_list_to_list(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        for state in ("pending", "failed", "dead", "completed", "processing"):
            screen.type("Tab")
            screen.shows(f"[{state} 1]", f"> {state}1")
        screen.type("BTab")
        screen.shows("[completed 1]")

    def test_why_a_job_is_dead(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.type("Tab", "Tab", "Tab")
        screen.shows("> dead1", "exit status 127", "no-such-program")

    def test_that_nobody_works(self, queuectl: Queuectl, top: Callable[..., Screen]) -> None:
        queuectl("enqueue", "true")
        top().shows("no worker is running", "pending 1")

    def test_how_many_have_ended(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        (line,) = [line for line in top().lines if line.startswith(" ended ")]
        assert "█" in line


class TestEvents:
    def test_a_new_job_appears_at_once(
        self, queuectl: Queuectl, settings: Configure, top: Callable[..., Screen]
    ) -> None:
        settings()
        screen = top()
        screen.type("Tab")
        screen.shows("[pending 0]", "no job is waiting")
        queuectl("enqueue", "--id", "fresh", "true")
        screen.shows("[pending 1]", "> fresh")

    def test_a_job_is_seen_through_to_its_end(
        self,
        queuectl: Queuectl,
        settings: Configure,
        top: Callable[..., Screen],
        worker: StartWorker,
        tmp_path: Path,
    ) -> None:
        settings()
        gate = tmp_path / "gate"
        screen = top()
        worker()
        queuectl("enqueue", "--id", "a", f"until test -e {gate}; do sleep 0.05; done")
        screen.shows("[processing 1]", "> a ")
        gate.touch()
        screen.shows("[processing 0]", "completed 1")

    def test_it_rests_when_nothing_happens(
        self,
        queuectl: Queuectl,
        settings: Configure,
        spool: Spool,
        top: Callable[..., Screen],
        processes_with: Callable[[str], list[int]],
    ) -> None:
        settings()
        screen = top()
        (pid,) = set(processes_with("queuectl\0top")) & set(spool.processes())
        before = switches(pid)
        clock = screen.lines[0].split()[-1]
        screen.eventually(lambda: screen.lines[0].split()[-1] > clock)
        screen.eventually(lambda: screen.lines[0].split()[-1] > clock)
        assert switches(pid) - before < 400


def switches(pid: int) -> int:
    """How often a process has been woken, in all of its threads."""
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        count += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
    return count


class TestKeys:
    @pytest.fixture
    def many(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        lines = [f'{{"id": "job{n:02}", "command": "echo {n}"}}' for n in range(40)]
        queuectl("enqueue", "-", input="\n".join(lines))

    def test_arrows_and_letters_move(self, many: None, top: Callable[..., Screen]) -> None:
        screen = top()
        screen.shows("> job00")
        screen.type("Down", "j", "j")
        screen.shows("> job03")
        screen.type("Up", "k")
        screen.shows("> job01")

    def test_pages_turn(self, many: None, top: Callable[..., Screen]) -> None:
        screen = top()
        screen.shows("> job00", "page 1/3")
        screen.type("PPage", "NPage")
        screen.shows("page 2/3", but="job00")
        screen.type("G")
        screen.shows("> job39", "page 3/3")
        screen.type("g")
        screen.shows("> job00")

    def test_moving_on_at_the_end_of_a_page_turns_it(
        self, many: None, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.type("G")
        screen.shows("> job39")
        first = min(line[2:7] for line in screen.lines if line[2:5] == "job")
        screen.type(*["Up"] * (39 - int(first[3:]) + 1))
        screen.shows(f"> job{int(first[3:]) - 1:02}", "page 2/3")

    def test_the_selection_stays_with_its_job(
        self, many: None, queuectl: Queuectl, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.type("Down", "Down")
        screen.shows("> job02")
        queuectl("cancel", "job00")
        screen.shows("> job02", "[pending 39]", but="job00")

    def test_r_runs_a_dead_job_again(
        self,
        one_of_each: WorkerProcess,
        spool: Spool,
        top: Callable[..., Screen],
        eventually: Eventually,
    ) -> None:
        screen = top()
        screen.type("Tab", "Tab", "Tab")
        screen.shows("> dead1")
        before = len(spool.record("dead1")["history"])
        screen.type("r")
        screen.shows("dead1 is pending again")
        eventually(lambda: len(spool.record("dead1")["history"]) > before)

    def test_what_cannot_be_retried_is_said(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.shows("> processing1")
        screen.type("r")
        screen.shows("job processing1 is processing, not dead")

    def test_c_cancels_after_a_question(
        self,
        one_of_each: WorkerProcess,
        spool: Spool,
        top: Callable[..., Screen],
        eventually: Eventually,
    ) -> None:
        screen = top()
        screen.shows("> processing1")
        screen.type("c")
        screen.shows("cancel processing1?")
        screen.type("y")
        eventually(lambda: spool.is_in("dead", "processing1"))
        screen.shows("[processing 0]", "dead 2")

    def test_any_other_answer_is_no(
        self, one_of_each: WorkerProcess, spool: Spool, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.shows("> processing1")
        screen.type("c")
        screen.shows("cancel processing1?")
        screen.type("n")
        screen.shows("> processing1", but="cancel processing1?")
        assert spool.is_in("processing", "processing1")

    def test_l_follows_the_log(
        self,
        queuectl: Queuectl,
        settings: Configure,
        worker: StartWorker,
        top: Callable[..., Screen],
        tmp_path: Path,
    ) -> None:
        settings()
        gate = tmp_path / "gate"
        said = r"seq 100; printf '\033]0;owned\007\033[31mred\033[0m [bold]x[/bold]\n'"
        command = f"{said}; until test -e {gate}; do sleep 0.05; done; echo later; sleep 300"
        queuectl("enqueue", "--id", "a", command)
        worker()
        screen = top()
        screen.shows("> a ")
        screen.type("l")
        screen.shows("\\x1b]0;owned\\x07red [bold]x[/bold]", "\n100", "following")
        gate.touch()
        screen.shows("later")
        screen.type("g")
        screen.shows("lines below", but="later")
        screen.type("G")
        screen.shows("later", "following")
        screen.type("q")
        screen.shows("[processing 1]")

    def test_slash_filters_by_id_and_command(self, many: None, top: Callable[..., Screen]) -> None:
        screen = top()
        screen.type("/")
        screen.run("echo 37")
        screen.shows("> job37", "1 found", but="job00")
        screen.type("Escape")
        screen.shows("job00")

    def test_p_pauses(
        self, queuectl: Queuectl, settings: Configure, top: Callable[..., Screen]
    ) -> None:
        settings()
        screen = top()
        screen.type("p")
        screen.shows("PAUSED")
        queuectl("enqueue", "--id", "fresh", "true")
        queuectl("enqueue", "--id", "second", "true")
        assert "pending 0" in screen.text
        screen.type("p")
        screen.shows("pending 2", but="PAUSED")

    def test_a_question_mark_tells_the_keys(
        self, settings: Configure, top: Callable[..., Screen]
    ) -> None:
        settings()
        screen = top()
        screen.type("?")
        screen.shows("Keys", "shift-tab", "Any key goes back")
        screen.type("x")
        screen.shows("[processing 0]")


class TestSizes:
    @pytest.mark.parametrize(("columns", "lines"), [(40, 12), (20, 6), (64, 10), (200, 50), (8, 3)])
    def test_each_line_fits_and_the_first_is_seen(
        self,
        one_of_each: WorkerProcess,
        top: Callable[..., Screen],
        screen: Screen,
        columns: int,
        lines: int,
    ) -> None:
        screen.open(columns, lines)
        screen.run("queuectl top")
        screen.shows("[pr", " queuectl top"[: columns - 3])
        assert screen.ask("alternate_on") == "1"
        screen.type("q")
        screen.shows("ready$")

    def test_a_narrow_terminal_tells_all_counts_and_all_keys(
        self, queuectl: Queuectl, settings: Configure, top: Callable[..., Screen]
    ) -> None:
        settings()
        lines = [f'{{"id": "job{n:04}", "command": "true"}}' for n in range(1234)]
        queuectl("enqueue", "-", input="\n".join(lines))
        screen = top(40, 12)
        screen.shows(" pr 0 [pe 1.2k] fa 0  de 0  co 0", "? help")
        screen.type("?")
        text = screen.shows("shift-tab", "run it again", "cancel it", "quit", "Any key goes back")
        assert "…" not in text

    def test_it_follows_the_size_of_the_terminal(
        self, one_of_each: WorkerProcess, top: Callable[..., Screen]
    ) -> None:
        screen = top()
        screen.shows("WORKER SLOT")
        screen.tmux("resize-window", "-t", "t", "-x", "40", "-y", "10")
        screen.shows("[proc 1]", "> processing1", but="WORKER SLOT")
        screen.tmux("resize-window", "-t", "t", "-x", "100", "-y", "30")
        screen.shows("WORKER SLOT")


def test_hostile_text_reaches_the_terminal_spelled_out(
    queuectl: Queuectl, spool: Spool, settings: Configure, top: Callable[..., Screen]
) -> None:
    settings()
    queuectl("enqueue", "--id", "a", f"echo {ESCAPE}[red]x[/red] :skull: \u202e")
    queuectl("enqueue", "--id", "wide", "echo " + "日本語" * 40)
    spool.drop(f"{ESCAPE}.json", '{"command": "true"}')
    screen = top(columns=100)
    text = screen.shows("echo \\x1b]0;owned\\x07\\x1b[2J[red]x", "pending 3", "日本語")
    assert "\u202e" not in text
    assert "\n  \\x1b]0;owned\\…" in text  # the name of a file
    assert screen.ask("pane_title") != "owned"
    assert all("wide" not in line or line.rstrip().endswith("…") for line in screen.lines)


def test_no_color_is_heeded(one_of_each: WorkerProcess, screen: Screen) -> None:
    screen.open()
    coloured = []
    for prefix in ("", "NO_COLOR=1 "):
        screen.run(f"{prefix}queuectl top")
        screen.shows("[processing 1]", "dead 1")
        seen = screen.tmux("capture-pane", "-e", "-p", "-t", "t")
        coloured.append(any(f"\x1b[{code}m" in seen for code in (31, 32, 33, 36)))
        screen.type("q")
        screen.eventually(lambda: screen.ask("alternate_on") == "0")
    assert coloured == [True, False]


class TestLeaving:
    @pytest.fixture
    def before(self, settings: Configure, screen: Screen) -> Screen:
        """A terminal with something on it, and what stty says of it."""
        settings()
        screen.open()
        screen.run("echo here before; stty -a > ../stty-before")
        screen.shows("\nhere before")
        return screen

    def assert_as_it_was(self, screen: Screen, queuectl: Queuectl) -> None:
        screen.run("stty -a > ../stty-after; echo comp''ared")
        screen.shows("here before", "compared")
        home = queuectl.cwd.parent
        assert (home / "stty-after").read_text() == (home / "stty-before").read_text()
        assert screen.ask("alternate_on") == "0"
        assert screen.ask("cursor_flag") == "1"

    def start(self, screen: Screen) -> None:
        screen.run("queuectl top")
        screen.shows("queuectl top ", "[processing 0]")
        assert screen.ask("alternate_on") == "1"
        assert screen.ask("cursor_flag") == "0"

    def assert_left_with(self, screen: Screen, code: int) -> None:
        screen.eventually(lambda: screen.ask("alternate_on") == "0")
        screen.run("echo left with $?")  # a line of its own: SIGINT ends the shell's line too
        screen.shows(f"left with {code}")

    @pytest.mark.parametrize(("key", "code"), [("q", 0), ("C-c", 130)])
    def test_by_a_key(self, before: Screen, queuectl: Queuectl, key: str, code: int) -> None:
        self.start(before)
        before.type(key)
        self.assert_left_with(before, code)
        self.assert_as_it_was(before, queuectl)

    @pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("HUP", 129), ("INT", 130)])
    def test_by_a_signal(self, before: Screen, queuectl: Queuectl, name: str, code: int) -> None:
        before.run("sh -c 'echo $$ > ../pid; exec queuectl top'")
        before.shows("[processing 0]")
        subprocess.run(["kill", f"-{name}", (queuectl.cwd.parent / "pid").read_text().strip()])
        self.assert_left_with(before, code)
        self.assert_as_it_was(before, queuectl)

    def test_when_the_terminal_goes(
        self,
        before: Screen,
        queuectl: Queuectl,
        spool: Spool,
        eventually: Eventually,
        processes_with: Callable[[str], list[int]],
    ) -> None:
        self.start(before)
        (pid,) = set(processes_with("queuectl\0top")) & set(spool.processes())
        before.tmux("kill-server")
        eventually(lambda: pid not in spool.processes())

    def test_by_an_error(self, before: Screen, queuectl: Queuectl, spool: Spool) -> None:
        self.start(before)
        spool.root.rename(spool.root.with_name("moved"))
        before.shows("queuectl: error: ", " is gone")
        self.assert_left_with(before, 1)
        self.assert_as_it_was(before, queuectl)

    def test_by_a_mistake_of_ours(self, before: Screen, queuectl: Queuectl) -> None:
        wrong = "import queuectl.cli.top.screen as s; s._tabs = None"
        start = f"import sys; {wrong}; from queuectl.cli import run; sys.exit(run(['top']))"
        python = queuectl.program.with_name("python")
        before.run(f"{python} -c {shlex.quote(start)}; echo left with $?")
        assert "unexpected TypeError" in before.shows("left with 1")
        self.assert_as_it_was(before, queuectl)

    def test_ctrl_z_gives_the_terminal_back_for_a_while(
        self, before: Screen, queuectl: Queuectl
    ) -> None:
        before.run("set -m")
        self.start(before)
        before.type("C-z")
        before.shows("here before", "Stopped")
        assert before.ask("alternate_on") == "0"
        before.run("fg")
        before.shows("[processing 0]")
        before.type("q")
        before.eventually(lambda: before.ask("alternate_on") == "0")
        self.assert_as_it_was(before, queuectl)


class TestJson:
    def test_it_is_all_that_is_on_the_screen(
        self, one_of_each: WorkerProcess, queuectl: Queuectl, spool: Spool
    ) -> None:
        found = queuectl.json("top")
        states = ("processing", "pending", "failed", "dead", "completed")
        assert found["spool"] == str(spool.root)
        assert found["jobs"] == dict.fromkeys(states, 1)
        assert {s: [job["id"] for job in found["lists"][s]] for s in states} == {
            s: [f"{s}1"] for s in states
        }
        (running,) = found["lists"]["processing"]
        assert running["command"] == NAP
        assert (running["worker"], running["pid"] > 0) == (one_of_each.name, True)
        assert found["workers"][0]["slots"] == 4
        assert sum(found["throughput"]["ended"]) == 3

    def test_of_a_long_list_the_first_are_told(
        self, queuectl: Queuectl, settings: Configure
    ) -> None:
        settings()
        lines = [f'{{"id": "job{n:02}", "command": "true"}}' for n in range(40)]
        queuectl("enqueue", "-", input="\n".join(lines))
        found = queuectl.json("top")
        assert found["jobs"]["pending"] == 40
        listed = [job["id"] for job in found["lists"]["pending"]]
        assert listed == [f"job{n:02}" for n in range(len(listed))]
        assert 10 <= len(listed) < 40

    def test_hostile_text_is_json(
        self, queuectl: Queuectl, spool: Spool, settings: Configure
    ) -> None:
        settings()
        queuectl("enqueue", "--id", "a", f"echo {ESCAPE}")
        spool.drop(f"{ESCAPE}.json", '{"command": "true"}')
        result = queuectl("top", "--json")
        assert "\x1b" not in result.out
        assert queuectl.json("top")["jobs"]["pending"] == 2

    def test_where_there_is_no_spool(self, queuectl: Queuectl, spool: Spool) -> None:
        assert str(spool.root) in queuectl.error("top", "--json", code=1)

    def test_a_spool_that_is_damaged(
        self, queuectl: Queuectl, spool: Spool, settings: Configure
    ) -> None:
        settings()
        (spool.root / "dead").rmdir()
        (spool.root / "dead").touch()
        assert "dead" in queuectl.error("top", "--json", code=1)


class TestRefusals:
    def test_without_a_terminal(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        assert "terminal" in queuectl.error("top")

    @pytest.mark.parametrize("name", ["dumb", ""])
    def test_on_a_terminal_without_a_cursor(
        self, screen: Screen, settings: Configure, name: str
    ) -> None:
        settings()
        screen.open()
        screen.run(f"TERM={name} queuectl top; echo left with $?")
        assert "TERM" in screen.shows("queuectl: error: ", "left with 2")

    def test_where_there_is_no_spool(self, queuectl: Queuectl, spool: Spool) -> None:
        assert str(spool.root) in queuectl.error("top", code=1)
        assert not spool.root.exists()

    def test_an_option_that_is_none(self, queuectl: Queuectl, settings: Configure) -> None:
        settings()
        queuectl.error("top", "--interval", "1")

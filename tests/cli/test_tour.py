"""The pages that show a session at a terminal: every command prints what the page shows.

The ```console examples of a page are typed into a terminal of 100 columns, one after the other, in
a new home. Ids, times, process ids and worker names differ from run to run, so only the shape of
the output is compared. `QUEUECTL_REWRITE_DOCS=1 pytest tests/cli/test_tour.py` writes the output of
this machine into the pages.

Some examples have a comment above them, which a reader of the page does not see:
`<!-- setup: COMMAND -->` is typed too, `<!-- second terminal -->` says where an example is typed,
`<!-- save as NAME -->` says that it is a file, and `<!-- not run -->` that it is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("queuectl")
REWRITE = bool(os.environ.get("QUEUECTL_REWRITE_DOCS"))
SECONDS = 40
PROMPT = "%%$ "  # nothing that a command prints begins like this
EXAMPLE = re.compile(
    r"^<!-- setup: (?P<setup>.*?) -->$"
    r"|^(?:<!-- (?P<note>second terminal|not run|save as \S+) -->\n\n)?"
    r"```(?P<language>console|python|text|sh|js)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ID = re.compile(r"\b[0-9a-z]{12}\b")
VARYING = [
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIMESTAMP"),
    (re.compile(r"^[A-Z]\w\w [A-Z]\w\w [ \d]\d [\d:]{8} (?:[AP]M )?\w+ \d{4}$", re.M), "DATE"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b[\w.-]+?-\d+-[0-9a-f]{4}\b"), "WORKER"),
    (re.compile(r"\b(?:\d+(?:\.\d+)?m?s|\d+m\d\ds|\d+h\d\dm|\d+d\d+h)\b"), "DURATION"),
    (re.compile(r"\b(WORKER +)\d+\b"), r"\1PID"),
    (re.compile(r"\b(DURATION +)\d{2,}\b"), r"\1PID"),
    (re.compile(r'"(host|boot_id|pid_namespace)": ".*?"'), r'"\1": HOST'),
    (re.compile(r'"(pid|slot|inode)": \d+'), r'"\1": NUMBER'),
    (ID, "ID"),
    (re.compile(r"; \d+ scheduled for later$", re.M), ""),  # it counts jobs that moved meanwhile
    (re.compile(r"\bqueuectl \d+\.\d+\.\d+\b"), "queuectl VERSION"),
    (re.compile(r" {2,}"), "  "),
]
LOOKS_ONLY = re.compile(
    r"(?:ls|cat|jq|grep|find|cmp|queuectl (?:list|status|show|logs|dlq list|worker list|health))\b"
)
"""Commands that change nothing: they are run again until a worker has done what they look for."""


@dataclass
class Command:
    """What is typed, and what the page says is printed."""

    text: str
    shown: str


@dataclass
class Example:
    """A fenced part of a page, or a command that only this test types."""

    setup: str | None
    note: str | None
    language: str | None
    body: str
    span: tuple[int, int]

    @property
    def commands(self) -> list[Command]:
        """The commands of a console. Without one it is the end of what the terminal shows."""
        found: list[Command] = []
        if self.language != "console" or not self.body.startswith("$ "):
            return found
        for line in self.body.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append(Command(line[2:].rstrip("\n"), ""))
            elif line.startswith("> ") and not found[-1].shown:
                found[-1].text += "\n" + line[2:].rstrip("\n")
            else:
                found[-1].shown += line
        return found


def examples_of(text: str) -> list[Example]:
    return [
        Example(m["setup"], m["note"], m["language"], m["body"] or "", m.span("body"))
        for m in EXAMPLE.finditer(text)
    ]


def shape(text: str) -> str:
    """Return a text with a word in place of all that differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def alike(command: str, real: str, shown: str) -> bool:
    """Whether a command has printed what the page shows."""
    if command.startswith("queuectl list"):  # jobs that ended in the same tick have no order
        return sorted(shape(real).split("\n")) == sorted(shape(shown).split("\n"))
    return shape(real) == shape(shown)


class Terminal:
    """A shell in a terminal of 100 columns, which is a window of tmux."""

    def __init__(self, socket: Path, environment: dict[str, str], directory: Path) -> None:
        self.socket = socket
        self.typed = 0
        self.settings = socket.with_name(".tmux.conf")
        self.settings.write_text("set -g history-limit 50000\n")
        variables = [f"{name}={value}" for name, value in environment.items()]
        shell = ["timeout", "--foreground", "300", "sh", "-i"]  # ends if the test run is killed
        where = ["-P", "-F", "#{pane_id}", "-c", str(directory)]
        open_it = ["new-session", "-d", "-x", "100", "-y", "50"]
        if socket.exists():
            open_it = ["new-window", "-d"]
        words = [*open_it, *where, "env", "-i", *variables, *shell]
        self.pane = self.tmux(*words).strip()
        self.wait_until(self.prompts)

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", self.settings, *words],
            capture_output=True, text=True, timeout=30, check=False,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def text(self) -> str:
        # -J: a line that the terminal has wrapped is one line.
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self.pane)

    def prompts(self) -> bool:
        """Whether the shell asks for the next command."""
        return len(re.findall(f"^{re.escape(PROMPT.strip())}", self.text, re.M)) > self.typed

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)

    def type(self, command: str) -> None:
        self.typed += 1
        for line in command.split("\n"):
            self.tmux("send-keys", "-t", self.pane, "-l", line)
            self.tmux("send-keys", "-t", self.pane, "Enter")

    def output(self, command: str) -> str:
        """Return what the last command has printed so far."""
        last = self.text.split(PROMPT.strip())[self.typed]
        lines = [line.rstrip() for line in last.split("\n")][command.count("\n") + 1 :]
        text = "\n".join(lines).rstrip("\n")
        return f"{text}\n" if text else ""

    def close(self) -> None:
        self.tmux("kill-pane", "-t", self.pane)


@dataclass
class Session:
    """A page that is being played, in a home, with /tmp/tutorial and /tmp/queue of its own."""

    directory: Path
    home: Path
    environment: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    terminals: dict[str | None, Terminal] = field(default_factory=dict)

    def terminal(self, where: str | None) -> Terminal:
        if where not in self.terminals:
            self.terminals[where] = Terminal(self.home / ".tmux", self.environment, self.home)
        return self.terminals[where]

    def here(self, text: str) -> str:
        """Return a page's text with this run's paths and ids for those of the page."""
        text = re.sub(r"/tmp/(?:tutorial|queue)", str(self.directory), text)
        for shown, real in self.ids.items():
            for length in range(len(shown), 2, -1):
                text = re.sub(rf"\b{shown[:length]}\b", real[:length], text)
        return text

    def there(self, text: str, page: str) -> str:
        """Return a real output with the page's paths for this run's."""
        spool = "/tmp/tutorial" if "/tmp/tutorial" in page else "/tmp/queue"
        return text.replace(str(self.directory), spool).replace(str(self.home), "/home/ada")

    def renewed(self, text: str) -> str:
        """Return a command of the page with the ids of this run."""
        for shown, real in self.ids.items():
            text = re.sub(rf"\b{shown}\b", real, text)
            text = re.sub(rf"\b{shown[:3]}\b", real[:3], text)
        return text

    def play(self, command: Command, terminal: Terminal, page: str) -> str:
        """Type a command; return what it prints, as soon as that is what the page shows."""
        text = self.here(command.text)

        def printed() -> str:
            return self.there(terminal.output(text), page)

        def as_shown() -> bool:
            if REWRITE:
                return printed().count("\n") == command.shown.count("\n")
            return alike(text, printed(), command.shown)

        terminal.type(text)
        if terminal is not self.terminals.get(None):
            terminal.wait_until(lambda: terminal.prompts() or as_shown())
        else:
            terminal.wait_until(terminal.prompts)
        deadline = time.monotonic() + (5 if REWRITE else SECONDS)
        while LOOKS_ONLY.match(text) and not as_shown() and time.monotonic() < deadline:
            time.sleep(0.2)
            terminal.type(text)
            terminal.wait_until(terminal.prompts)
        output = printed()
        self.ids.update(zip(ID.findall(command.shown), ID.findall(output), strict=False))
        return output

    def python(self, body: str, page: str) -> str:
        """Run a Python example; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", self.here(body)],
            capture_output=True, text=True, env=self.environment, cwd=self.home, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return self.there(done.stdout, page)


@pytest.fixture
def session() -> Iterator[Session]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    # As long as /tmp/tutorial: tables are cut at the same place.
    directory = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    directory.rmdir()
    home = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    session = Session(
        directory,
        home,
        {
            "HOME": str(home),
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "TERM": "screen",
            "PS1": PROMPT,
            "PS2": "> ",
            "NO_COLOR": "1",
        },
    )
    yield session
    if directory.exists():  # what a test that failed has left running
        stop = [str(PROGRAM), "--spool", str(directory), "worker", "stop", "--now", "--wait"]
        subprocess.run(stop, timeout=60, check=False, capture_output=True)
    for terminal in session.terminals.values():
        terminal.close()  # ends what runs in it
    for path in directory.parent.glob(f"{directory.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(home)


def play(page: Path, session: Session, *, section: str = "") -> None:
    """Play a page, or one section of it; compare, or rewrite the page."""
    whole = page.read_text(encoding="utf-8")
    start = whole.index(f"## {section}") if section else 0
    end = whole.find("\n## ", start) if section else -1
    text = whole[start:] if end < 0 else whole[start:end]
    for program in ("jq", "node"):
        if re.search(rf"\b{program} ", text) and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    made: list[tuple[tuple[int, int], str]] = []
    printed = ""
    for example in examples_of(text):
        new = _played(example, session, text, printed)
        if example.language == "python" and example.note is None:
            printed, new = new, example.body
        made.append((example.span, new))
    for (first, last), new in reversed(made):
        if REWRITE and first >= 0:
            text = text[:first] + new + text[last:]
    if REWRITE:
        tail = whole[end:] if end >= 0 else ""
        page.write_text(whole[:start] + text + tail, encoding="utf-8")


def _played(example: Example, session: Session, page: str, printed: str) -> str:
    """Play one example; return what the page should have in its place."""
    note = example.note or ""
    terminal = session.terminal(note if note == "second terminal" else None)
    if example.setup is not None:
        terminal.type(session.here(example.setup))
        terminal.wait_until(terminal.prompts)
        assert terminal.prompts(), example.setup
    elif note.startswith("save as "):
        file = session.home / note.removeprefix("save as ")
        file.write_text(session.here(example.body))
        file.chmod(0o755)
    elif example.language == "python" and not note:
        return session.python(example.body, page)
    elif example.language == "text" and printed and not note:
        assert REWRITE or shape(printed) == shape(example.body)
        return printed
    elif example.language == "console" and note != "not run" and not example.commands:
        last = _end_of(terminal, example.body, session, page)
        assert REWRITE or shape(last) == shape(example.body)
        return last
    elif example.language == "console" and note != "not run":
        new = ""
        for command in example.commands:
            output = session.play(command, terminal, page)
            if not (REWRITE or alike(command.text, output, command.shown)):
                pytest.fail(f"{command.text}\nprinted:\n{output}\nshown:\n{command.shown}")
            typed = session.renewed(command.text).replace("\n", "\n> ")
            new += f"$ {typed}\n{output}"
        return new
    return example.body


def _end_of(terminal: Terminal, shown: str, session: Session, page: str) -> str:
    """Return as many of a terminal's last lines as the page shows, when they are the same."""
    count = shown.count("\n")

    def last() -> str:
        lines = [line.rstrip() for line in terminal.text.split("\n")]
        lines = [line for line in lines if line and not line.startswith(PROMPT.strip())]
        return session.there("\n".join(lines[-count:]), page) + "\n"

    terminal.wait_until(lambda: REWRITE or shape(last()) == shape(shown))
    return last()


def test_the_tour_in_the_readme_prints_what_it_shows(session: Session) -> None:
    play(ROOT / "README.md", session, section="A tour")


def test_the_tutorial_prints_what_it_shows(session: Session) -> None:
    play(ROOT / "docs/tutorial.md", session)


@pytest.mark.parametrize(
    "page", ["use-from-python", "drop-a-job", "check-health", "clean-up", "move-back-up"]
)
def test_a_how_to_prints_what_it_shows(page: str, session: Session) -> None:
    (path,) = (ROOT / "docs/how-to").glob(f"{page}*.md")
    play(path, session)

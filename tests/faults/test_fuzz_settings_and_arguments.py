"""Whatever stands in `queue.toml` or on the command line: one line that says what is wrong.

The settings are read as a file and set as text; the arguments are tried by the thousand in this
process, on a spool to be thrown away, and a hundred of them by the installed command.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from faults.harness import fuzz
from helpers.processes import PROGRAM

from queuectl import Queue, clock
from queuectl.errors import InvalidSetting, SpoolUnusable
from queuectl.record import settings
from queuectl.worker.worker import Worker

KEYS = list(settings.describe())
CODES = (0, 1, 2, 124)
SHOWN = 20


class Stage(NamedTuple):
    """A throw-away spool, a directory to stand in, and what must not be touched."""

    base: Path
    spool: Path
    here: Path
    environment: dict[str, str]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="queuectl-fuzz-") as directory:
        base = Path(directory)
        fuzz.sentinels(base / "outside")
        here = base / "here"
        here.mkdir()
        environment = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "QUEUECTL_SPOOL": str(base / "spool"),
            "HOME": str(here / "home"), "XDG_STATE_HOME": str(here / "state"),
        }  # fmt: skip
        for name in [name for name in os.environ if name.startswith(("QUEUECTL", "XDG"))]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(here)
        Queue(base / "spool").set_setting("fsync", "false")
        yield Stage(base, base / "spool", here, environment)


def _told(figures: Callable[..., None], what: str, tally: Counter[str], wrong: list[str]) -> None:
    figures(f"fuzz: {what}", **tally, violations=len(wrong))
    for message, count in Counter(line.split(": ")[0] for line in wrong).items():
        print(f"{count} x {message}")
    assert wrong[:SHOWN] == []


# -- settings ------------------------------------------------------------------------------


def test_settings_are_valid_or_refused_with_the_reason(
    stage: Stage, figures: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: time.time() + 3600)  # no file is just being written
    rng = fuzz.dice("toml")
    queue = Queue(stage.spool)
    path = stage.spool / "queue.toml"
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    for _ in range(fuzz.many(6_000)):
        data = fuzz.toml_text(rng, KEYS)
        path.write_bytes(data)
        tally["inputs"] += 1
        try:
            settings = Queue(stage.spool, create=False).settings
            tally["accepted"] += 1
            wrong += _unusable(settings)
        except (InvalidSetting, SpoolUnusable) as error:
            tally["rejected"] += 1
            wrong += [] if str(error) else [f"no reason: {data[:200]!r}"]
        except Exception as error:
            tally["rejected"] += 1
            wrong.append(f"{type(error).__name__}: {str(error)[:80]}: {data[:200]!r}")
        wrong += _edited(queue, path, rng.choice(KEYS), "1")

    _told(figures, "queue.toml as a file", tally, wrong)


def _unusable(settings: settings.Settings) -> list[str]:
    """Name the values that nothing can wait for, count with or run."""
    values = {name: getattr(settings, name) for name in KEYS if name != "max_retries"}
    return [
        f"{name} is {value!r}"
        for name, value in values.items()
        if value is not None and not _is_usable(name, value)
    ]


def _is_usable(name: str, value: float | str) -> bool:
    if isinstance(value, str):
        return value.strip() != "" and "\0" not in value
    return 0 <= value <= (2**50 if name == "output_max" else 1e9)


def _edited(queue: Queue, path: Path, key: str, text: str) -> list[str]:
    """Set one setting: it then has that value and the file is whole, or nothing has changed."""
    before = path.read_bytes()
    try:
        value = queue.set_setting(key, text)
    except (InvalidSetting, SpoolUnusable):
        after = path.read_bytes()
        return [] if after == before else [f"a refused edit changed the file: {key}={text[:80]!r}"]
    except Exception as error:
        name = type(error).__name__
        return [f"{name} when it is set: {str(error)[:80]}: {key}={text[:80]!r}: {before[:200]!r}"]
    try:
        if queue.spool.settings.values().get(key) != value:
            return [f"set, but not to its value: {key}={text[:80]!r}: {before[:200]!r}"]
    except Exception as error:
        return [f"set, and then unreadable: {key}={text[:80]!r}: {before[:200]!r}: {error}"]
    return []


def test_a_setting_that_is_refused_changes_nothing(
    stage: Stage, figures: Callable[..., None]
) -> None:
    rng = fuzz.dice("set")
    queue = Queue(stage.spool)
    path = stage.spool / "queue.toml"
    valid = path.read_bytes()
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    for _ in range(fuzz.many(3_000)):
        key = rng.choice([*KEYS] * 3 + ["format", "max_retry", "", "\x1b[31m", "a.b", "é"])
        text = rng.choice([*fuzz.TOML_VALUES, *fuzz.NUMBERS, *fuzz.NASTY_TEXTS])
        before = path.read_bytes()
        tally["inputs"] += 1
        problems = _edited(queue, path, key, text)
        tally["rejected" if path.read_bytes() == before else "accepted"] += 1
        try:
            wrong += _unusable(Queue(stage.spool, create=False).settings)
        except Exception as error:
            problems.append(f"the spool cannot be opened then: {key}={text[:80]!r}: {error}")
        if problems:
            path.write_bytes(valid)
        wrong += problems

    _told(figures, "config set", tally, wrong)


# -- arguments -----------------------------------------------------------------------------

SPOOLS = [
    "/", "/etc", "/etc/passwd", "/dev/null", "/dev/null/x", "/proc/self", "..", "../outside",
    "../outside/keep", "../outside/keep/x", "", "x" * 300, "\udcff/x", "\x1b[31m", "-",
]  # fmt: skip
"""Directories that are no spools, or may become one only where the command stands."""
OPTIONS = [
    "--id", "--priority", "--delay", "--run-at", "--max-retries", "--timeout", "--cwd", "--env",
    "--json", "--state", "--limit", "-n", "--attempt", "-a", "--older-than", "--all", "--now",
    "--repair", "--spool", "--version", "-h", "--help", "--nothing",
]  # fmt: skip
COMMANDS = [
    ["enqueue"], ["enqueue", "-"], ["enqueue", "--"], ["status"], ["list"], ["show"], ["logs"],
    ["cancel"], ["wait", "--timeout", "0"], ["purge"], ["purge", "--state", "dead"], ["check"],
    ["dlq"], ["dlq", "list"], ["dlq", "retry"], ["dlq", "purge"], ["config"], ["config", "list"],
    ["config", "get"], ["config", "set"], ["config", "unset"], ["worker"], ["worker", "list"],
    ["worker", "stop"], ["purge", "--state", "completed", "--older-than"], ["nothing"], [],
]  # fmt: skip
WORDS = [
    "waits", "wa", "done", "dead", "d", "completed", "failed", "pending", "7d", "10m", "0",
    "999999999999999", "9" * 400, "9" * 400 + "d", "A=b", "=", "true", "max_retries", "08:30",
    "24:00", "2026-11-24 08:00", "9999-12-31", "0001-01-01", "queue.toml",
]  # fmt: skip


def _arguments(rng: random.Random) -> tuple[list[str], bytes]:
    """Return a command line and what its stdin has; none that rightly runs for ever."""
    line = list(rng.choice(COMMANDS))
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 4])):
        if rng.random() < 0.35:
            line.append(rng.choice(OPTIONS))
            if line[-1] == "--spool":
                line.append(rng.choice(SPOOLS))
        elif rng.random() < 0.3:
            line.append(fuzz.job_text(rng)[:5000].decode(errors="replace").replace("\0", ""))
        else:
            line.append(rng.choice(WORDS) if rng.random() < 0.5 else fuzz.word(rng))
    if line and rng.random() < 0.2:
        rng.shuffle(line)
    if "wait" in line:
        line += ["--timeout", "0"]
    if "--spool" in line[-1:]:
        line.append("")
    stdin = b"\n".join(fuzz.job_text(rng) for _ in range(rng.randrange(3)))
    return line, stdin


def _furnish(stage: Stage) -> None:
    """Put a job into every state; what earlier lines left is no matter."""
    Queue(stage.spool)
    for job_id, state in {"waits": "pending", "done": "done", "dead": "dead"}.items():
        path = stage.spool / state / f"{job_id}.json"
        path.write_text(f'{{"id": "{job_id}", "command": "true"}}')


def _verdict(line: list[str], said: fuzz.Said) -> list[str]:
    """Hold what a command said against what every command must keep."""
    wrong = []
    errors = said.err.splitlines()
    if said.code not in CODES:
        wrong.append(f"exit code {said.code}")
    if "Traceback" in said.err or "this is a bug" in said.err:
        wrong.append("a bug")
    told = [text for text in errors if text.startswith("queuectl: error: ")]
    if said.code == 2 and not said.err.startswith("Usage:") and (len(errors), len(told)) != (1, 1):
        wrong.append("not one line of error")
    speaks_by_data = {"check", "wait"} & set(line)
    if said.code == 1 and not speaks_by_data and not told:
        wrong.append("an exit code without a reason")
    if said.code == 0 and told:
        wrong.append("an error without an exit code")
    data = {"logs", "--json"} & set(line)  # not for people: JSON escapes only what it must
    if found := fuzz.raw_controls(said.err + ("" if data else said.out)):
        wrong.append(f"raw {found!r}")
    return [f"{problem}: {[w[:100] for w in line]}: {said.err[:300]}" for problem in wrong]


def test_any_arguments_end_with_an_exit_code_and_one_line(
    stage: Stage, figures: Callable[..., None]
) -> None:
    rng = fuzz.dice("arguments")
    outside = fuzz.snapshot(stage.base / "outside")
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    for number in range(fuzz.many(2_500)):
        if number % 100 == 0:
            _furnish(stage)
        line, stdin = _arguments(rng)
        tally["inputs"] += 1
        try:
            said = fuzz.queuectl(*line, stdin=stdin)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"{type(error).__name__} escapes: {line}: {error}")
            continue
        tally["rejected" if said.code == 2 else "accepted"] += 1
        wrong += _verdict(line, said)
    wrong += [f"touched: {path}" for path in
              fuzz.differences(outside, fuzz.snapshot(stage.base / "outside"))]  # fmt: skip

    _told(figures, "command lines in process", tally, wrong)


def test_any_arguments_end_the_installed_command_likewise(
    stage: Stage, figures: Callable[..., None]
) -> None:
    rng = fuzz.dice("executable")
    outside = fuzz.snapshot(stage.base / "outside")
    _furnish(stage)
    tally: Counter[str] = Counter(inputs=0, accepted=0, rejected=0)
    wrong = []
    for _ in range(fuzz.many(100)):
        line, stdin = _arguments(rng)
        line = [os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in line]
        done = subprocess.run([PROGRAM, *line], input=stdin, capture_output=True, timeout=60,
                              env=stage.environment, cwd=stage.here, check=False)  # fmt: skip
        texts = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
        said = fuzz.Said(done.returncode, *texts)
        tally["inputs"] += 1
        tally["rejected" if said.code == 2 else "accepted"] += 1
        wrong += _verdict(line, said)
    wrong += [f"touched: {path}" for path in
              fuzz.differences(outside, fuzz.snapshot(stage.base / "outside"))]  # fmt: skip

    _told(figures, "command lines, installed", tally, wrong)


@pytest.mark.parametrize(
    "options",
    [["--count", "0"], ["--count", "-1"], ["--count", "1025"], ["--count", "x"], ["--count", "1e3"],
     ["--count", "9" * 30], ["--spool", "/etc"], ["--spool", "/dev/null"], ["extra"], ["--nothing"],
     ["--quiet", "--count", "3"], ["--count", "1", "--count", "2"], ["--quiet=1"]],
    ids=" ".join,
)  # fmt: skip
def test_a_worker_with_odd_options_drains_or_is_refused(
    stage: Stage, options: list[str], figures: Callable[..., None]
) -> None:
    said = fuzz.queuectl("worker", "start", "--drain", *options)

    figures("fuzz: worker start --drain", inputs=1)
    assert _verdict(["worker", *options], said) == []
    assert said.code in (0, 1, 2)


@pytest.mark.parametrize(
    "text",
    [b"timeout = [", b"timeout = -1", b"format = 9", b"\xff", b"timeout = " + b"9" * 5000,
     b"timeout = " + b"[" * 5000, "a directory", "a link to nothing", "a link to itself"],
    ids=lambda text: str(text)[:24],
)  # fmt: skip
def test_a_worker_goes_on_with_its_settings_whatever_is_put_in_their_place(
    stage: Stage, text: bytes | str, work: Callable[..., Worker], eventually: Callable[..., bool]
) -> None:
    queue = Queue(stage.spool)
    path = stage.spool / "queue.toml"

    def spoil(worker: Worker) -> None:
        path.unlink()
        if isinstance(text, bytes):
            path.write_bytes(text)
        elif text == "a directory":
            path.mkdir()
        else:
            path.symlink_to("queue.toml" if text.endswith("itself") else "nothing")
        job_id = queue.enqueue("true")
        eventually(lambda: queue.get(job_id).state == "completed", seconds=10)
        worker.stop()

    assert work(queue, spoil).tally.ok == 1


@pytest.mark.parametrize("words", ["status", "config list", "config set timeout 1"])
def test_a_pipe_in_the_place_of_the_settings_holds_nobody_up(stage: Stage, words: str) -> None:
    (stage.spool / "queue.toml").unlink()
    os.mkfifo(stage.spool / "queue.toml")

    done = subprocess.run([PROGRAM, *words.split()], capture_output=True, timeout=10, check=False,
                          text=True, env=stage.environment, cwd=stage.here)  # fmt: skip

    assert done.returncode in (0, 1, 2)
    assert len(done.stderr.splitlines()) <= 1

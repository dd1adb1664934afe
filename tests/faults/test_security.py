"""Others on the same machine: what they may do, see, and make a spool do.

Other users (nobody, seen by root), links to where nobody should write, text that a terminal
would obey, and the modes of all that a worker leaves.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import pkgutil
import pty
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import termios
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.harness import fuzz
from helpers.processes import PROGRAM
from helpers.spool_files import DIRECTORIES
from helpers.unprivileged import NOBODY

import queuectl
from queuectl import Queue
from queuectl.disk import durable
from queuectl.disk.locks import try_lock
from queuectl.disk.modes import change_mode
from queuectl.spool import integrity
from queuectl.spool.holder import Holder
from queuectl.worker.worker import Worker

QUICK = "quiet_period = 0.1\nrescan_interval = 0.2\nkill_grace = 1\nbackoff_base = 0.05\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's files need root")


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory that every user may reach; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="queuectl-security-") as directory:
        os.chmod(directory, 0o755)
        fuzz.sentinels(Path(directory) / "outside")
        yield Path(directory)


@pytest.fixture
def shop(base: Path) -> Queue:
    """A spool beside the sentinels, with settings that make a drain quick."""
    Queue(base / "spool")
    with (base / "spool" / "queue.toml").open("a") as file:
        file.write(QUICK)
    return Queue(base / "spool")


def _run(queue: Queue, *words: str, **options: Any) -> fuzz.Said:
    return fuzz.queuectl("--spool", queue.path, *words, **options)


def _enqueue_whoami(root: Path, who: str) -> str:
    return Queue(root).enqueue("echo $USER", id=who)


def _enqueue_true(path: str, create: bool) -> str:
    return Queue(path, create=create).enqueue("true")


def _as_nobody(function: Callable[[], str]) -> str:
    """Call a function in a child that is nobody; return what it says, or its error."""
    for module in pkgutil.walk_packages(queuectl.__path__, "queuectl."):
        if module.name != "queuectl.__main__":  # that one runs the command
            importlib.import_module(module.name)  # the interpreter may be where nobody cannot read
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads (3.12)
        pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = function()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


# -- other users ---------------------------------------------------------------------------


@needs_root
def test_the_spool_of_another_is_not_worked_on_unless_he_is_trusted(shop: Queue) -> None:
    job_id = shop.enqueue("true")
    for path in [Path(shop.path), *Path(shop.path).rglob("*")]:
        os.chown(path, NOBODY, NOBODY)

    refused = _run(shop, "worker", "start", "--drain")
    left = shop.get(job_id).state
    trusted = _run(shop, "worker", "start", "--drain", "--allow-shared")

    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert f"belongs to uid {NOBODY}" in refused.err
    assert left == "pending"
    assert (trusted.code, shop.get(job_id).state) == (0, "completed")


@needs_root
def test_another_can_neither_read_nor_enqueue(shop: Queue) -> None:
    shop.enqueue("echo secret", id="mine")

    for create in (False, True):
        said = _as_nobody(partial(_enqueue_true, shop.path, create=create))
        assert re.match(r"PermissionError|SpoolUnusable", said)
    listed = _as_nobody(lambda: str(os.listdir(shop.path)))

    assert listed.startswith("PermissionError")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720])
@pytest.mark.parametrize("directory", [".", *DIRECTORIES])
def test_a_spool_that_others_may_write_to_is_not_worked_on(
    shop: Queue, directory: str, mode: int
) -> None:
    job_id = shop.enqueue("true")
    (Path(shop.path) / directory).chmod(mode)

    said = _run(shop, "worker", "start", "--drain")

    assert (said.code, len(said.err.splitlines())) == (1, 1)
    assert "is writable by others" in said.err
    assert "--allow-shared" in said.err
    assert Queue(shop.path).get(job_id).state == "pending"


@needs_root
def test_a_strangers_file_is_kept_with_the_reason_and_not_run(shop: Queue, base: Path) -> None:
    data = f'{{"command": "touch {base}/ran"}}'
    path = Path(shop.path) / "pending" / "theirs.json"
    path.write_text(data)
    os.chown(path, NOBODY, NOBODY)

    assert _run(shop, "worker", "start", "--drain").code == 0
    assert not (base / "ran").exists()
    assert (Path(shop.path) / "dead" / "theirs.json").read_text() == data
    assert f"uid {NOBODY}" in (Path(shop.path) / "dead" / "theirs.error").read_text()


@needs_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("first", ["root", "nobody"])
def test_a_group_may_share_a_spool_on_purpose(base: Path, umask: int, first: str) -> None:
    root = base / "shared"
    root.mkdir()
    os.chown(root, 0, NOBODY)
    root.chmod(0o2770)
    os.umask(umask)
    queue = Queue(root)
    with (root / "queue.toml").open("a") as file:
        file.write(QUICK)
    said = {}
    for who in ["root", "nobody"] if first == "root" else ["nobody", "root"]:
        submit = partial(_enqueue_whoami, root, who)
        said[who] = submit() if who == "root" else _as_nobody(submit)
    worker = _run(queue, "worker", "start", "--drain", "--allow-shared")
    cancelled = _as_nobody(lambda: Queue(root).cancel(Queue(root).enqueue("true", id="again")))
    changed = _as_nobody(lambda: str(Queue(root).set_setting("max_retries", "5")))

    assert said == {"root": "root", "nobody": "nobody"}
    assert worker.code == 0
    assert [queue.get(who).state for who in said] == ["completed", "completed"]
    assert (cancelled, changed) == ("dead", "5")
    assert (root / "done" / "nobody.json").stat().st_mode & 0o777 == 0o660


# -- links ---------------------------------------------------------------------------------

LINKS = [
    *((directory, "empty") for directory in DIRECTORIES),
    *((f"{directory}/x.json", "x.json") for directory in ("pending", "failed", "done", "dead")),
    ("dead/bad.error", "keep"), ("dead/bad.error", "absent"), ("logs/a.1.log", "keep"),
    ("logs/a.1.log", "absent"), ("processing/w", "."), ("processing/w", "empty"),
    ("workers/w.lock", "keep"), ("workers/w.lock", "absent"), ("workers/w.json", "x.json"),
    ("workers/w.stop", "keep"), ("tmp/x", "keep"), ("queue.toml.lock", "keep"),
    ("queue.toml.lock", "absent"), ("pending/.lock", "keep"), ("pending/.lock", "absent"),
]  # fmt: skip


WORK = [
    ["enqueue", "--id", "a", "echo a"], ["enqueue", "--id", "b", "--max-retries=1", "exit 1"],
    ["enqueue", "--id", "c", "--delay=1d", "true"], ["cancel", "c"], ["worker", "start", "--drain"],
    ["logs", "b"], ["dlq", "retry", "b"], ["worker", "start", "--drain"],
    ["config", "set", "max_retries", "4"], ["list"], ["check", "--repair"],
    ["purge", "--state", "completed", "--older-than", "0"], ["dlq", "purge"],
]  # fmt: skip
"""Every command that writes, and a worker."""


@pytest.mark.parametrize(("place", "target"), LINKS, ids=lambda text: text)
def test_nothing_is_written_through_a_link(
    shop: Queue, base: Path, place: str, target: str, figures: Callable[..., None]
) -> None:
    root, outside = Path(shop.path), base / "outside"
    (root / "pending" / "bad.json").write_text("{}")
    path = root / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    before = fuzz.snapshot(outside)
    path.symlink_to(outside / target)

    said = [_run(shop, *words, seconds=8) for words in WORK]

    figures("links planted in a spool", links=1)
    assert fuzz.differences(before, fuzz.snapshot(outside)) == []
    assert not any("this is a bug" in each.err for each in said)


@pytest.mark.parametrize("ending", ["run", "cancel"])
@pytest.mark.parametrize("target", ["keep", "absent"])
def test_a_link_beside_a_claim_is_not_written_through(
    shop: Queue, base: Path, work: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch,
    ending: str, target: str,
) -> None:  # fmt: skip
    root, outside = Path(shop.path), base / "outside"
    before = fuzz.snapshot(outside)
    shop.enqueue("sleep 0.2", id="a", max_retries=0)
    shop.enqueue("true", id="b")
    enter = Holder.__enter__

    def plant(holder: Any) -> Any:
        (root / "processing" / holder.name / f"a.1.{ending}").symlink_to(outside / target)
        return enter(holder)

    monkeypatch.setattr(Holder, "__enter__", plant)
    work(shop, drain=True, deadline=10)

    assert fuzz.differences(before, fuzz.snapshot(outside)) == []
    assert shop.get("b").state == "completed"


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_log_that_cannot_be_opened_does_not_hold_up_the_other_jobs(
    shop: Queue, base: Path, kind: str
) -> None:
    path = Path(shop.path) / "logs" / "a.1.log"
    make: dict[str, Callable[[], None]] = {
            "link": lambda: path.symlink_to(base / "outside" / "keep"), "directory": path.mkdir,
            "pipe": lambda: os.mkfifo(path)}  # fmt: skip
    make[kind]()
    shop.enqueue("true", id="a", max_retries=0)
    shop.enqueue("true", id="b")

    command: list[str | Path] = [PROGRAM, "--spool", shop.path, "worker", "start", "--drain"]
    subprocess.run(command, timeout=10, check=True, capture_output=True)  # killed if it stays

    assert shop.get("b").state == "completed"


def test_what_a_link_in_pending_points_to_is_read_by_nobody(shop: Queue, base: Path) -> None:
    secret = base / "outside" / "secret"
    secret.write_text('{"command": "echo s3cret", "id": "s3cret"}')
    secret.chmod(0o600)
    for name in ("x.json", "s.json"):
        (Path(shop.path) / "pending" / name).symlink_to(secret)

    said = [_run(shop, *words) for words in (["list"], ["list", "--json"], ["show", "x"],
            ["worker", "start", "--drain"], ["dlq", "list"], ["show", "x", "--json"])]  # fmt: skip

    assert not any("s3cret" in each.out + each.err for each in said)
    files = (path for path in Path(shop.path).rglob("*") if not path.is_symlink())
    assert not any(b"s3cret" in path.read_bytes() for path in files if path.is_file())
    assert "symbolic link" in (Path(shop.path) / "dead" / "x.error").read_text()


def test_a_spool_may_itself_be_reached_by_a_link(shop: Queue, base: Path) -> None:
    (base / "link").symlink_to(shop.path)

    said = [_run(Queue(base / "link"), *words) for words in WORK[:5]]

    assert [each.code for each in said] == [0] * 5


# -- what is swapped between a look and a change -------------------------------------------


def _swap(path: Path, put: Callable[[], object]) -> None:
    """Move what has a name away, and put something else there."""
    path.rename(path.with_name("moved away"))
    put()


@pytest.mark.parametrize("what", ["a link", "another file", "a link for its directory"])
@pytest.mark.parametrize("place", ["logs/a.1.log", "processing/w/a.1.json", "failed/a.json"])
def test_a_repair_of_a_mode_reaches_no_other_file(
    shop: Queue, base: Path, monkeypatch: pytest.MonkeyPatch, what: str, place: str
) -> None:
    path, victim = Path(shop.path) / place, base / "outside" / Path(place).name
    victim.touch()
    victim.chmod(0o644)
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_text('{"command": "true"}')
    path.chmod(0o4777)
    repair, swapped = integrity._repaired, []

    def swap_first(finding: integrity.Finding, fix: Callable[[], object]) -> integrity.Finding:
        if finding.path == str(path) and finding.damage == "mode":
            swapped.append(path)
            if what == "a link":
                _swap(path, lambda: path.symlink_to(victim))
            elif what == "another file":
                _swap(path, lambda: path.hardlink_to(victim))
            else:
                _swap(path.parent, lambda: path.parent.symlink_to(victim.parent))
        return repair(finding, fix)

    monkeypatch.setattr(integrity, "_repaired", swap_first)
    monkeypatch.setattr(integrity, "_dead_holders", lambda _: iter(()))  # nobody has this claim
    found = integrity.check(shop.spool, repair=True)

    assert len(swapped) == 1
    assert victim.stat().st_mode & 0o7777 == 0o644
    assert [each.failure is None for each in found if each.path == str(path)
            and each.damage == "mode"] == [False]  # fmt: skip


def test_a_repair_of_a_mode_changes_a_file_only_as_it_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o4777)
    seen = path.lstat()
    path.chmod(0o600)

    with pytest.raises(FileNotFoundError, match="changed since"):
        change_mode(str(tmp_path), str(path), seen, 0o4700)
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_new_directory_that_was_swapped_for_a_link_changes_nothing_behind_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, new, mkdir = base / "outside" / "empty", base / "new", os.mkdir
    victim.chmod(0o700)

    def mkdir_and_swap(path: str, mode: int) -> None:
        mkdir(path, mode)
        _swap(Path(path), lambda: Path(path).symlink_to(victim))

    monkeypatch.setattr(os, "mkdir", mkdir_and_swap)
    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        durable.Disk().make_dir(str(new), 0o777)

    assert victim.stat().st_mode & 0o777 == 0o700


def test_a_leftover_directory_that_is_swapped_for_a_link_empties_nothing_behind_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, leftover, is_link = base / "outside", base / "leftover", os.path.islink
    before = fuzz.snapshot(victim)
    leftover.mkdir()

    def look_and_swap(path: str) -> bool:
        found = is_link(path)
        if Path(path) == leftover and not found:
            _swap(leftover, lambda: leftover.symlink_to(victim))
        return found

    monkeypatch.setattr(os.path, "islink", look_and_swap)
    durable.discard_tree(str(leftover))

    assert is_link(leftover)
    assert fuzz.differences(before, fuzz.snapshot(victim)) == []


def test_a_file_with_another_name_too_keeps_its_mode(base: Path) -> None:
    victim, lock = base / "outside" / "keep", base / ".lock"
    victim.chmod(0o600)
    lock.hardlink_to(victim)

    os.close(durable.create(str(lock), os.O_RDWR, 0o666))

    assert victim.stat().st_mode & 0o777 == 0o600


def test_a_lock_is_not_held_under_a_name_that_has_become_a_link(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = base / "w.lock", fcntl.flock
    lock.touch()

    def flock_and_swap(fd: int, how: int) -> None:
        flock(fd, how)
        _swap(lock, lambda: lock.symlink_to("moved away"))

    monkeypatch.setattr(fcntl, "flock", flock_and_swap)

    with pytest.raises(FileNotFoundError):
        try_lock(str(lock))


# -- imports -------------------------------------------------------------------------------

PRESCAN = """
import os, sys
from queuectl import Queue
from queuectl.worker.prescan import prescan
os.environ["PYTHONPATH"] = os.getcwd()  # now, so that this process itself is not misled
print(sum(map(len, prescan(Queue(sys.argv[1]).spool.reader))))
"""


@pytest.fixture
def planted(base: Path) -> Path:
    """A directory with modules that leave a mark if they are imported: all names there are."""
    directory = base / "planted"
    directory.mkdir()
    ours = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names
    for name in {*ours, "sitecustomize", "usercustomize"} - {"__main__"}:
        (directory / f"{name}.py").write_text(
            f"open({str(base / 'imported')!r}, 'a').write('{name} ')"
        )
    return directory


@pytest.mark.parametrize("found_by", ["installation", "PYTHONPATH"])
def test_a_prescan_imports_nothing_from_its_directory_or_from_the_users_path(
    shop: Queue, base: Path, planted: Path, found_by: str
) -> None:
    shop.enqueue("true")
    python = Path(sys.executable)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if found_by == "PYTHONPATH":  # an interpreter that has nothing installed
        python = Path(os.path.realpath(python))
        project = Path(queuectl.__file__).parents[1]
        environment["PYTHONPATH"] = f"{project}:{sysconfig.get_path('purelib')}"

    done = subprocess.run([python, "-P", "-c", PRESCAN, shop.path], cwd=planted, env=environment,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    assert (done.stdout, done.stderr) == ("1\n", "")
    assert not (base / "imported").exists()


def test_the_command_imports_nothing_from_its_directory(
    shop: Queue, base: Path, planted: Path
) -> None:
    for words in (["enqueue", "true"], ["worker", "start", "--drain"], ["config", "set",
            "max_retries", "1"], ["health"], ["worker", "unit"]):  # fmt: skip
        subprocess.run([PROGRAM, "--spool", shop.path, *words], cwd=planted, timeout=60, check=True,
                       capture_output=True)  # fmt: skip

    assert shop.status().jobs["completed"] == 1
    assert not (base / "imported").exists()


# -- terminals -----------------------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eltr\nqueuectl: error: forged\x7f\r"
OURS = re.compile(r"\x1b\[\?25[lh]|\x1b\[K|\r")
"""What a progress bar says to a terminal."""


def _hostile(queue: Queue) -> None:
    """Fill a spool with text that a terminal would obey, wherever text may stand."""
    root, text, name = Path(queue.path), json.dumps(HOSTILE), HOSTILE
    tries = f'[{{"attempt":1,"outcome":"failed","error":{text},"worker":{text},"signal":{text}}}]'
    bodies = {
        "command": f'"command":{text}', "program": f'"command":[{text}]',
        "key": f'"command":"true",{text}:{text}', "cwd": '"command":"true","cwd":"/"',
        "env": f'"command":"true","env":{{{text}:{text}}}',
        "gone": f'"command":"true","cwd":{json.dumps("/" + HOSTILE)}',
        "tried": f'"command":"true","history":{tries}',
        "outcome": f'"command":"true","history":[{{"attempt":1,"outcome":{text}}}]',
        "type": f'"command":{{{text}:1}}', "stamp": f'"command":"true","run_at":{text}',
    }  # fmt: skip
    for job_id, body in bodies.items():
        for path in (f"dead/{job_id}.json", f"pending/{job_id}-waits.json"):
            (root / path).write_text(f'{{"max_retries":0,{body}}}')
    for directory in DIRECTORIES:
        for ending in (".json", ".1.log", ".error", ".lock", ""):
            odd = bytes(root / directory) + b"/" + os.fsencode(name) + b"\xff\x9b31m"
            Path(os.fsdecode(odd) + ending).write_text("{}")
    (root / "dead" / "why.json").write_text("no job")
    (root / "dead" / "why.error").write_text(HOSTILE)
    (root / "processing" / name).mkdir()
    (root / "processing" / name / "lost.1.json").write_text('{"command":"true","max_retries":0}')
    (root / "workers" / "evil.json").write_text(
        json.dumps({"name": name, "host": name, "boot_id": "x", "pid": 1, "slots": 1,
                    "started_at": "2026-01-01T00:00:00Z"}))  # fmt: skip


def _on_a_terminal(*arguments: str) -> tuple[int, bytes]:
    """Run the command on a terminal that passes on what it is told; return all of that."""
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    environment = {**os.environ, "NO_COLOR": "1", "LANG": "C.UTF-8"}
    with subprocess.Popen([PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                          env=environment) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 65536):
                said += data
        except OSError:  # nobody has the other end any more
            os.close(ours)
        return process.wait(60), said


@pytest.mark.parametrize(
    "words",
    ["status", "list", "show key", "show gone", "show tried", "show outcome", "show env",
     "show why", "show type-waits", "dlq list", "worker list", "check", "check --repair",
     "wait program --timeout 1", "cancel key-waits gone-waits program", "dlq retry --all",
     "worker start --drain", "purge --state dead --older-than 0", f"show {HOSTILE}",
     f"cancel {HOSTILE}", f"wait {HOSTILE}", f"list --state {HOSTILE}", f"worker stop {HOSTILE}",
     f"config set {HOSTILE} 1", f"config set timeout {HOSTILE}", f"--spool {HOSTILE} list",
     f"enqueue --run-at {HOSTILE} x", HOSTILE, f"enqueue --env {HOSTILE} x", f"--{HOSTILE}"],
    ids=lambda words: words.encode("unicode_escape").decode()[:30],
)  # fmt: skip
def test_no_text_of_others_reaches_the_terminal_raw(
    shop: Queue, words: str, figures: Callable[..., None]
) -> None:
    _hostile(shop)

    code, said = _on_a_terminal("--spool", shop.path, *words.split(" "))

    text = said.decode(errors="surrogateescape")
    bars = {"wait", "purge"} & {words.split(" ")[0]}
    figures("outputs on a terminal", outputs=1)
    assert fuzz.raw_controls(OURS.sub("", text) if bars else text) == ""
    assert "\nqueuectl: error: forged" not in text
    assert code in (0, 1, 2, 124)


# -- modes ---------------------------------------------------------------------------------


def _open_to_others(root: Path) -> list[str]:
    return [f"{path} {path.lstat().st_mode & 0o777:03o}" for path in [root, *root.rglob("*")]
            if path.lstat().st_mode & 0o077]  # fmt: skip


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nothing_in_a_spool_is_ever_open_to_others(
    base: Path, umask: int, eventually: Callable[..., Any]
) -> None:
    root = base / "private" / "spool"

    def run(*words: str) -> str:
        return subprocess.run([PROGRAM, "--spool", root, *words], capture_output=True, check=True,
                              text=True, umask=umask, timeout=60).stdout  # fmt: skip

    look = 'find "$QUEUECTL_SPOOL" -perm /077 ! -type l'  # by the job: its run file, its claim
    run("enqueue", "--id", "looks", "--", "sh", "-c", look)
    run("enqueue", "--id", "dies", "--max-retries", "0", "exit 1")
    run("config", "set", "quiet_period", "0.1")
    run("enqueue", "--id", "cancelled", "--delay", "1d", "true")
    run("cancel", "cancelled")
    (root / "pending" / "bad.json").write_text("{}")
    (root / "pending" / "bad.json").chmod(0o600)
    run("worker", "start", "--detach", "--count", "2")
    try:
        queue = Queue(root)
        eventually(lambda: queue.get("looks").state == "completed")
        eventually(lambda: queue.status().jobs["dead"] == 3)
        at_work = _open_to_others(root)
    finally:
        run("worker", "stop", "--now", "--wait")
    run("dlq", "retry", "dies")
    run("worker", "start", "--drain")

    assert at_work == []
    assert _open_to_others(root) == []
    assert run("logs", "looks") == ""

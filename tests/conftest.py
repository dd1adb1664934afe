"""What every test may ask for: a spool of its own, a worker that drains it, a patient eye."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import known_state, unprivileged, waiting
from helpers.spool_files import STATE_DIRECTORIES, put

from queuectl import Queue
from queuectl.disk import renames
from queuectl.spool.holder import Holder
from queuectl.spool.spool import Spool
from queuectl.worker.tally import Tally
from queuectl.worker.worker import Worker

QUICK = {
    "backoff_base": "0.05",
    "quiet_period": "0.1",
    "rescan_interval": "0.2",
    "kill_grace": "0.5",
}
DEADLINE = 40.0


def pytest_configure() -> None:
    known_state.enter()


@pytest.fixture(autouse=True)
def _plain_umask() -> Iterator[None]:
    yield
    os.umask(known_state.UMASK)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    queue = Queue(tmp_path / "spool")
    for key, value in QUICK.items():
        queue.set_setting(key, value)
    return queue


@pytest.fixture
def spool(queue: Queue) -> Spool:
    return queue.spool


@pytest.fixture
def root(queue: Queue) -> Path:
    return Path(queue.path)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait for a condition, at most so many seconds, and return what it gave."""
    return waiting.eventually


@pytest.fixture
def work() -> Callable[..., Worker]:
    """Run a worker in this thread while `script(worker)` runs in another, and return it.

    A worker that does not leave is made to, and then the test fails.
    """

    def run(
        queue: Queue,
        script: Callable[[Worker], object] | None = None,
        *,
        slots: int = 2,
        drain: bool = False,
        deadline: float = DEADLINE,
    ) -> Worker:
        worker = Worker(queue.spool, slots, drain=drain)
        failures: list[BaseException] = []
        overdue = threading.Timer(deadline, lambda: late())

        def leave() -> None:
            worker.stop_now()
            worker._watch.notify()

        def late() -> None:
            failures.append(TimeoutError())
            leave()

        def play() -> None:
            try:
                if script is not None:
                    script(worker)
            except BaseException as error:
                failures.append(error)
                leave()

        actor = threading.Thread(target=play)
        overdue.start()
        try:
            worker.run(lambda _: actor.start())
        finally:
            overdue.cancel()
            overdue.join()
            if actor.ident is not None:
                actor.join()
        if failures:
            raise failures[0]
        return worker

    return run


@pytest.fixture
def drain(work: Callable[..., Worker]) -> Callable[..., Tally]:
    """Let a worker do all there is to do."""

    def run(queue: Queue, slots: int = 2, **options: Any) -> Tally:
        return work(queue, slots=slots, drain=True, **options).tally

    return run


@pytest.fixture
def drop(root: Path) -> Callable[..., Path]:
    """Put a file into `pending/` as any program would: rename it in when it is whole."""

    return partial(put, root)


@pytest.fixture
def stands(root: Path) -> Callable[[], list[str]]:
    """Name every job file in the spool, from its root."""

    def look() -> list[str]:
        return sorted(
            str(path.relative_to(root))
            for directory in STATE_DIRECTORIES.values()
            for path in (root / directory).rglob("*.json")
            if not path.name.startswith(".")
        )

    return look


@pytest.fixture
def bytes_of(root: Path) -> Callable[[], dict[str, bytes]]:
    """Return all that is in the spool, `tmp/` and lock files apart, with its bytes."""

    def read() -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.parent.name != "tmp" and not path.name.endswith(".lock")
        }

    return read


@pytest.fixture
def dead_holder(spool: Spool) -> Callable[[], Holder]:
    """Make a holder; `bury` it and its claims are those of a process that has died."""
    return lambda: Holder(spool)


@pytest.fixture
def bury() -> Callable[[Holder], None]:
    return lambda holder: os.close(holder._lock)


@pytest.fixture
def crash() -> Callable[..., bool]:
    """Run something in a child that is gone just before its n-th change to the disk.

    A child, not an exception: nobody cleans up after a crash. Returns False if the work was
    over before, and fails the test if it raised.
    """

    def run(operation: Callable[[], object], before: int) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads (3.12)
            pid = os.fork()
        if pid == 0:
            code = 70
            with contextlib.suppress(BaseException):
                _die_before(before)
                operation()
                code = 0
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, 9), f"the operation failed in the child: {code}"
        return code == 9

    return run


def _die_before(number: int) -> None:
    left = [number]

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return call(*args, **options)

        return step

    for name in ("rename", "link", "unlink", "fsync", "write", "mkdir", "rmdir", "fchmod"):
        setattr(os, name, mortal(getattr(os, name)))
    if renames._renameat2 is not None:
        setattr(renames, "_renameat2", mortal(renames._renameat2))  # noqa: B010 - it is typed as C


@pytest.fixture(params=["renameat2", "link and unlink"])
def either_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with both ways of giving a name that must be free."""
    if request.param == "renameat2":
        if renames._renameat2 is None:
            pytest.skip("this system has no renameat2")
    else:
        monkeypatch.setattr(renames, "_renameat2", None)
    return str(request.param)


@pytest.fixture
def nobody() -> Iterator[unprivileged.Unprivileged]:
    """A user without privileges, who has a spool of his own."""
    with unprivileged.unprivileged() as user:
        yield user


@pytest.fixture
def at_once() -> Callable[..., list[Any]]:
    """Call a function of a module in many fresh processes at the same instant."""

    def run(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(len(arguments))
        results = context.SimpleQueue()

        def play(number: int, args: tuple[Any, ...]) -> None:
            barrier.wait(30)
            try:
                results.put((number, function(*args)))
            except Exception as error:
                results.put((number, type(error)))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            players = [
                context.Process(target=play, args=(number, args))
                for number, args in enumerate(arguments)
            ]
            for player in players:
                player.start()
        found = dict(results.get() for _ in players)
        for player in players:
            player.join()
        return [found[number] for number in range(len(arguments))]

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures of the proofs; here, for a hook further down is not heard."""
    totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "figures":
                    heading, numbers = value
                    for what, count in numbers.items():
                        totals[heading][what] += count
    if totals:
        terminalreporter.section("figures of the proofs")
        for heading, numbers in totals.items():
            line = ", ".join(f"{count:,} {what}" for what, count in numbers.items())
            terminalreporter.write_line(f"{heading:<44} {line}")

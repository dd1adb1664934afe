"""Figure 5: from the moment a file is dropped to the first instruction of its command."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import peers
from bench import Bench
from measure import Row, Unavailable, percentile, until
from ours import NOOP, filled, working

GAP = (0.01, 0.04)
"""Seconds between drops, drawn anew each time so that no rhythm of the worker's is met."""
BUSY_GAP = 0.02
"""Seconds between the other slot's jobs."""

Begin = Callable[[Path], int]
"""Has a probe started that writes its time into a file; returns when, by the same clock."""


def build_probe(directory: Path) -> tuple[Path | None, str]:
    """Compile the probe; None and the reason if that cannot be done."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None, "no C compiler here"
    program = directory / "probe"
    source = str(Path(__file__).with_name("probe.c"))
    for options in (["-static"], []):
        command = [compiler, "-O2", *options, "-o", str(program), source]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return program, ""
    return None, f"{compiler} cannot compile probe.c"


def start(bench: Bench) -> list[Row]:
    """5. `mv` into pending/ until the command runs, against starting it directly."""
    titles = ("5 drop to start, idle worker", "5 drop to start, another slot busy")
    try:
        if bench.probe is None:
            raise Unavailable(bench.probe_reason)
        calm = bench.fresh()
        filled(calm, 0)
        with working(calm, 1):
            idle = _alternate(bench, bench.probe, {"queuectl": _dropper(calm, bench.probe)})
        busy_root = bench.fresh()
        filled(busy_root, 0)
        with working(busy_root, 2), _trickle(busy_root):
            busy = _alternate(bench, bench.probe, {"queuectl": _dropper(busy_root, bench.probe)})
        with _spoolers(bench, bench.probe) as spoolers:
            other = _alternate(bench, bench.probe, spoolers)
    except Unavailable as reason:
        return [
            Row(t, "queuectl", bench.disk.name, "ms", note=f"skipped: {reason}") for t in titles
        ]
    found = [*_rows(titles[0], bench, idle), *_rows(titles[1], bench, busy)]
    return [*found, *_rows("5 call to start, from the shell", bench, other)]


def _rows(title: str, bench: Bench, times: dict[str, list[float]]) -> list[Row]:
    found = []
    floor = times["start it directly"]
    for name, values in times.items():
        worst = percentile(values, 0.99) if values else 0.0
        note = f"p99 {worst:.1f} ms of {len(values)}" if values else "skipped: not installed"
        found.append(Row(title, name, bench.disk.name, "ms", values, floor, note))
    return found


def _is_told(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _alternate(bench: Bench, probe: Path, begin: dict[str, Begin]) -> dict[str, list[float]]:
    """Take one of each in turn, with the floor among them; milliseconds."""
    out = bench.fresh()
    out.mkdir(parents=True)
    contenders = {"start it directly": _directly(probe), **begin}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(bench.sizes.start):
        for turn, (name, each) in enumerate(contenders.items()):
            told = out / f"{number}-{turn}"
            time.sleep(random.uniform(*GAP))  # jobs come when they come, not in step with us
            before = each(told)
            until(partial(_is_told, told), 30, pause=0.001)
            times[name].append((int(told.read_text()) - before) / 1e6)
    return times


def _directly(probe: Path) -> Begin:
    return lambda told: _called(lambda: subprocess.run([str(probe), str(told)], check=True))


def _called(call: Callable[[], object]) -> int:
    before = time.monotonic_ns()
    call()
    return before


def _dropper(root: Path, probe: Path) -> Begin:
    return lambda told: _drop(root, told.name, [str(probe), str(told)])


def _drop(root: Path, name: str, command: list[str]) -> int:
    staged = root / "tmp" / name
    staged.write_text(json.dumps({"command": command}))
    return _called(lambda: os.rename(staged, root / "pending" / f"{name}.json"))


@contextlib.contextmanager
def _trickle(root: Path) -> Iterator[None]:
    """Keep dropping no-op jobs, so that claims and settles go on all the time."""
    over = threading.Event()

    def feed() -> None:
        number = 0
        while not over.wait(BUSY_GAP):
            number += 1
            _drop(root, f"trickle-{number}", NOOP)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        over.set()
        feeder.join()


@contextlib.contextmanager
def _spoolers(bench: Bench, probe: Path) -> Iterator[dict[str, Begin]]:
    with contextlib.ExitStack() as stack:
        found: dict[str, Begin] = {}
        for name in ("nq", "tsp"):
            with contextlib.suppress(Unavailable):
                queue = peers.Spooler(name, bench.fresh())
                stack.callback(queue.close)
                found[name] = _caller(queue, probe)
        yield found


def _caller(queue: peers.Spooler, probe: Path) -> Begin:
    return lambda told: _called(lambda: queue.enqueue(str(probe), str(told)))

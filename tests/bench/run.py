"""Measures queuectl, its peers and the floor side by side on one disk, and prints a table.

usage: python tests/bench/run.py [--quick|--full] [--only NAME...] [--disk DIR] [--json FILE]

Every figure comes with its floor, the least that any program would have to do, measured in the
same rounds; noise of the machine hits both, so read the ratios. As root, each figure that depends
on fsync is taken a second time on a loop image with a journalled ext4. Peers that are missing are
named with the reason. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import figures_idle
import figures_put
import figures_run
import figures_scale
import figures_start
import peers
from bench import FULL, QUICK, TINY, Bench, Sizes
from disks import Disk, journalled, plain
from measure import Fresh, Row
from syncs import syncs
from table import render

import queuectl

FIGURES: dict[str, tuple[Callable[[Bench], list[Row]], bool]] = {
    "syncs": (syncs, False),
    "enqueue": (figures_put.enqueue, True),
    "bulk": (figures_put.bulk, True),
    "process": (figures_put.process, True),
    "drain": (figures_run.drain, True),
    "start": (figures_start.start, True),
    "backlog": (figures_scale.backlog, True),
    "scheduled": (figures_idle.scheduled, False),
    "idle": (figures_idle.idle, False),
    "listing": (figures_idle.listing, False),
    "workers": (figures_run.workers, True),
    "done": (figures_scale.done, True),
}
"""By name: what measures it, and whether it depends on fsync."""
IN_IMAGE = 100_000


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is unmounted
    sizes = {"tiny": TINY, "quick": QUICK, "full": FULL}[arguments.size]
    found: list[Row] = []
    about = _machine(arguments)
    print(_headline(about), flush=True)
    others = peers.installed(install=arguments.size != "tiny")
    print("peers: " + ", ".join(f"{k} {v or 'missing'}" for k, v in others.versions.items()))
    with contextlib.closing(_disks(Path(arguments.disk), sizes)) as disks:  # so that it unmounts
        for disk, amount in disks:
            if isinstance(disk, str):
                print(f"\n{disk}", flush=True)
                continue
            print(f"\n## {disk.about}", flush=True)
            about["disks"].append(disk.about)
            found += _measure(disk, amount, others, arguments.only or list(FIGURES))
    if arguments.json:
        report = {**about, "rows": [dataclasses.asdict(row) for row in found]}
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("usage:")[0],
        epilog="figures: " + ", ".join(FIGURES),
    )
    size = parser.add_mutually_exclusive_group()
    for name, words in (
        ("quick", "a few minutes (the default)"),
        ("full", "most of an hour; up to a million files"),
        ("tiny", "seconds; says only that everything works"),
    ):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=words)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=FIGURES, help="some figures")
    parser.add_argument(
        "--disk",
        metavar="DIR",
        default=tempfile.gettempdir(),
        help="where to measure [%(default)s]",
    )
    parser.add_argument("--json", metavar="FILE", help="write everything measured to a file")
    parser.set_defaults(size="quick")
    return parser.parse_args()


def _disks(parent: Path, sizes: Sizes) -> Generator[tuple[Disk | str, Sizes], None, None]:
    """The disk that was asked for, then a journalled one, or the words why there is none.

    The image is filled with no more than IN_IMAGE files: it is there to measure fsync. To meet a
    million on a journalled file system, name a directory on one.
    """
    with plain(parent) as disk:
        yield disk, sizes
    if sizes is TINY:
        return
    if disk.name.endswith(", journal"):
        yield "no loop image: this disk keeps a journal itself", sizes
        return
    small = dataclasses.replace(
        sizes,
        backlog=tuple(number for number in sizes.backlog if number <= IN_IMAGE),
        done=(sizes.done[0], min(sizes.done[1], IN_IMAGE)),
    )
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(journalled(parent, 2 * IN_IMAGE))
        except OSError as error:
            yield f"skipped: a journalled ext4 in a loop image: {error}", sizes
            return
        yield disk, small


def _measure(disk: Disk, sizes: Sizes, others: peers.Peers, names: list[str]) -> Iterator[Row]:
    fresh = Fresh(disk.path)
    with tempfile.TemporaryDirectory(prefix="queuectl-probe-") as directory:
        probe, reason = figures_start.build_probe(Path(directory))
        bench = Bench(disk, sizes, others, fresh, probe, reason)
        for name in names:
            figure, durable = FIGURES[name]
            if durable or disk.first:
                begin = time.monotonic()
                rows = figure(bench)
                print(f"\n{render(rows)}\n\n({name}: {time.monotonic() - begin:.0f} s)", flush=True)
                yield from rows


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": arguments.size,
        "queuectl": queuectl.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "disks": [],
    }


def _headline(about: dict[str, Any]) -> str:
    return (
        f"queuectl {about['queuectl']}, Python {about['python']}, Linux {about['kernel']}, "
        f"{about['processors']} processors, load {about['load']:.1f}, {about['date']}, "
        f"{about['size']} form"
    )


if __name__ == "__main__":
    main()

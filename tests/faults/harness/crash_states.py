"""Every state that a power cut may leave, as far as two models of a file system allow it.

The real file systems show one state for each moment of a cut; these models show all that POSIX
and their designs permit (Pillai et al., "All File Systems Are Not Created Equal: On the
Complexity of Crafting Crash-Consistent Applications", OSDI 2014).

JOURNALLED (ext4, XFS): directory changes reach the disk in order, whichever directory they are
in, and every fsync brings all earlier ones along; a rename is one change. UNJOURNALLED (ext4
without a journal): each directory reaches the disk on its own, in its own order, at least up to
its own last fsync; a rename between directories is two changes, and either may come first. In
both, what is written to a file is sure to be there only after its own fsync.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from faults.harness.effects import Directory, Effects, File

UNREAD = "tmp"
"""Nobody reads this directory but the sweep of what is 36 hours old: states that differ in it
alone count as one, and which of them is tried is drawn by lot."""
MOST_OF_ONE_CRASH = 2000

Reached = Mapping[Directory, int]
"""How many of each directory's changes have reached the disk."""


class State(NamedTuple):
    """What a power cut left: each path with its node, and the content of the files.

    `crash` is the moment of the cut: the number of effects that came before it. `nameless` has
    the contents of files that the disk itself has lost: see `_nameless`.
    """

    crash: int
    acked: bool
    nameless: tuple[bytes, ...]
    nodes: dict[str, File | Directory]
    contents: dict[File, bytes]

    @property
    def key(self) -> object:
        """What tells states apart, as far as anybody looks."""
        first: dict[File, str] = {}
        seen = []
        for path, node in self.nodes.items():
            if _is_unread(path):
                continue
            if isinstance(node, File):
                seen.append((path, first.setdefault(node, path), self.contents[node]))
            else:
                seen.append((path, "", b""))
        return self.acked, self.nameless, tuple(seen)

    def build(self, root: Path) -> None:
        """Make the directory `root` be as the power cut left it."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(0o700)
        first: dict[File, str] = {}
        for name, node in self.nodes.items():
            path = os.path.join(root, name)
            if isinstance(node, Directory):
                os.mkdir(path, 0o700)
            elif node in first:
                os.link(first[node], path)
            else:
                first[node] = path
                self._write(path, node)

    def _write(self, path: str, file: File) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, self.contents[file])
            if file.mtime_ns is not None:
                os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
        finally:
            os.close(fd)

    def describe(self, effects: Effects) -> str:
        """Say when the cut came and what had reached the disk."""
        after = effects.texts[self.crash - 1] if self.crash else "nothing"
        files = [
            f"{path} ({len(self.contents[node])} B)"
            for path, node in self.nodes.items()
            if isinstance(node, File)
            and (node.versions or effects.root.entries(0).get(path) is None)
        ]
        return f"cut {self.crash} (after {after}): {', '.join(files)}"


class Model(NamedTuple):
    """What a file system may leave: yields what may have reached the disk at a moment.

    Where `renames_tear`, a rename may reach the disk in half.
    """

    name: str
    reaches: Callable[[Effects, int, random.Random], Iterator[Reached]]
    renames_tear: bool


def _in_one_order(effects: Effects, crash: int, lot: random.Random) -> Iterator[Reached]:
    committed = max((when for when in effects.commits if when < crash), default=0)
    for moment in range(committed, crash + 1):
        yield {each: each.changes_before(moment) for each in effects.directories}


def _each_by_itself(effects: Effects, crash: int, lot: random.Random) -> Iterator[Reached]:
    choices = {
        each: range(each.changes_synced(crash), each.changes_before(crash) + 1)
        for each in effects.directories
    }
    unread = effects.root.now.get(UNREAD)
    several = [each for each, those in choices.items() if len(those) > 1 and each is not unread]
    for picked in _bounded_product([choices[each] for each in several], lot):
        chosen = {each: lot.choice(those) for each, those in choices.items()}
        yield {**chosen, **dict(zip(several, picked, strict=True))}


JOURNALLED = Model("journalled", _in_one_order, renames_tear=False)
UNJOURNALLED = Model("unjournalled", _each_by_itself, renames_tear=True)


def states(effects: Effects, model: Model, seed: int = 0) -> list[State]:
    """Return every distinct state that a cut at any moment may leave under a model."""
    lot = random.Random(seed)
    found: dict[object, State] = {}
    for crash in range(effects.end + 1):
        acked = effects.acked is not None and effects.acked < crash
        for reached in model.reaches(effects, crash, lot):
            nodes = dict(_walk(effects.root, reached))
            torn = model.renames_tear and not acked
            nameless = tuple(_nameless(effects, crash, nodes)) if torn else ()
            files = {node: None for node in nodes.values() if isinstance(node, File)}
            contents = [node.contents(crash) for node in files]
            for picked in _bounded_product(contents, lot):
                state = State(crash, acked, nameless, nodes, dict(zip(files, picked, strict=True)))
                found.setdefault(state.key, state)
    return list(found.values())


def sample(found: list[State], most: int, seed: int = 0) -> list[State]:
    """Return at most so many of the states, the same ones for the same seed."""
    if len(found) <= most:
        return found
    return random.Random(seed).sample(found, most)


def _nameless(
    effects: Effects, crash: int, nodes: Mapping[str, File | Directory]
) -> Iterator[bytes]:
    """Yield the contents of files of which a rename has reached the disk in half.

    The old name is gone from the disk and the new one is not there yet: where a rename is two
    changes, no order of calls prevents that between it and the fsync that follows. Once anything
    was forced to disk after the rename, or the operation was acknowledged, the order was the
    caller's choice, and a file without a name is not excused.
    """
    last_commit = max((when for when in effects.commits if when < crash), default=-1)
    live = {each: each.changes_before(crash) for each in effects.directories}
    named = {node for path, node in nodes.items() if not _is_unread(path)}
    for path, node in _walk(effects.root, live):
        if isinstance(node, File) and node not in named and not _is_unread(path):
            names = effects.names_given(node, crash, besides=effects.root.now.get(UNREAD))
            if len(names) > 1 and names[-1] > last_commit:
                yield node.content


def _is_unread(path: str) -> bool:
    return path.split("/")[0] == UNREAD


def _walk(
    directory: Directory, reached: Reached, prefix: str = ""
) -> Iterator[tuple[str, File | Directory]]:
    for name, node in sorted(directory.entries(reached[directory]).items()):
        yield prefix + name, node
        if isinstance(node, Directory):
            yield from _walk(node, reached, f"{prefix}{name}/")


def _bounded_product(choices: list[range] | list[list[bytes]], lot: random.Random) -> Iterator[Any]:
    """Yield every combination, or where they are too many, so many that are drawn by lot."""
    if math.prod(map(len, choices)) <= MOST_OF_ONE_CRASH:
        yield from itertools.product(*choices)
        return
    for _ in range(MOST_OF_ONE_CRASH):
        yield tuple(lot.choice(each) for each in choices)

"""Break one operation at each of its system calls in turn, and check what is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from faults.harness.disks import LoopDisk
from faults.harness.effects import Effects
from faults.harness.invariants import survey, tags_of, tree, violations
from faults.harness.operations import BYSTANDERS, TOLD, Operation, make_spool
from faults.harness.strace import CRASH, Call, End, record, run_plain, run_with, transcript

from queuectl.spool.places import Unfit
from queuectl.spool.reject import reject
from queuectl.spool.spool import open_spool


class Result(NamedTuple):
    """What a sweep tried and found; `nameless` counts what was lost and is excused."""

    points: int
    violations: list[str]
    nameless: int = 0


class Bench:
    """A place where one operation is broken again and again, from the same start.

    With `renames_tear`, half of what a call has changed may be on the disk when its power is cut;
    then, and only if the operation was not acknowledged, what it is about may have lost its name.
    """

    def __init__(
        self,
        operation: Operation,
        directory: Path,
        disk: LoopDisk | None = None,
        *,
        renames_tear: bool = False,
    ) -> None:
        self.operation = operation
        self._disk = disk
        self._renames_tear = renames_tear
        self._nameless = 0
        self._template = directory / "template"
        self._log = directory / "strace.log"
        self._acks = directory / "acks"
        self.root = (disk.mount_point if disk else directory) / "spool"
        make_spool(self._template)
        self._place(self._template)
        operation.prepare(self.root)  # under its final name: records may hold it
        shutil.rmtree(self._template)
        shutil.copytree(self.root, self._template, symlinks=True)

    def calls(self, by: Callable[..., list[Call]] = record) -> list[Call]:
        """List the operation's system calls, without those on the files of the test."""
        self._place(self._template)
        of_the_test = (str(self._acks), str(TOLD))
        calls = by(self._act, self.root, self._log)
        return [call for call in calls if not any(path in call.text for path in of_the_test)]

    def sweep(self, calls: Iterable[Call], fault: str) -> Result:
        """Break each of the calls by `fault`; with a disk, cut its power after each."""
        return self.sweep_points([(call, fault) for call in calls])

    def sweep_points(
        self,
        points: Sequence[tuple[Call, str]],
        by: Callable[..., End] = run_with,
        *,
        must_succeed: bool = False,
    ) -> Result:
        """Break each call by its own fault; with a disk, cut its power after each."""
        found = []
        self._nameless = 0
        for call, fault in points:
            self._place(self._template)
            end = by(self._act, call, fault, self._log)
            wrong = [*self._judge(end)]
            if must_succeed and end.code:
                wrong.append("it failed")
            found += [f"{self.operation.name}, {fault} at {call.text}: {line}" for line in wrong]
        return Result(len(points), found, self._nameless)

    def plain(self) -> Result:
        """Do the operation unbroken; with a disk, cut its power then."""
        self._place(self._template)
        end = run_plain(self._act)
        return Result(1, [f"{self.operation.name}, unbroken: {line}" for line in self._judge(end)])

    def effects(self) -> Effects:
        """Do the operation unbroken and list what it did to the spool's files and directories."""
        self._place(self._template)
        effects = Effects(self.root, self._acks)
        effects.follow(transcript(self._act, self._log))
        return effects

    def judge(self, acked: bool, nameless: Collection[bytes] = ()) -> Iterator[str]:
        """Recover what stands in the spool now and name all that is not as it must be.

        `nameless` has the contents of files that the disk itself has lost the names of: only
        they may be absent, whatever the operation says.
        """
        operation = self.operation
        if operation.not_jobs:
            _reject_as_a_worker_would(self.root)
        expected = operation.acked if acked else operation.cut
        allowed = {tag: {state} for tag, state in BYSTANDERS.items()} | dict(expected)
        for tag in tags_of(nameless):
            allowed[tag] = allowed[tag] | {"absent"}
        not_jobs = {k: data for k, data in operation.not_jobs.items() if data not in nameless}
        yield from violations(self.root, allowed=allowed, not_jobs=not_jobs)
        yield from operation.more(self.root, acked)

    def _act(self) -> None:
        acks = os.open(self._acks, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.operation.act(self.root, lambda text: os.write(acks, f"{text}\n".encode()))

    def _place(self, template: Path) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        if template != self.root:
            shutil.copytree(template, self.root, symlinks=True)
        self._acks.unlink(missing_ok=True)
        if self._disk:
            self._disk.sync()

    def _judge(self, end: End) -> Iterator[str]:
        if end.code == CRASH:
            yield "it crashed"
        acked = self._acks.exists() and self._acks.stat().st_size > 0
        if self._disk:
            if self._renames_tear:
                self._disk.write_some_back()
            self._disk.cut_power()
        nameless = list(self._lost()) if self._renames_tear and not acked else []
        self._nameless += bool(nameless)
        yield from self.judge(acked, nameless)

    def _lost(self) -> Iterator[bytes]:
        """Those files that the operation is about which have no name any more."""
        left, jobs = set(tree(self.root).values()), survey(self.root)[0]
        for data in tree(self._template).values():
            if data in self.operation.not_jobs.values() and data not in left:
                yield data
            if (tags_of([data]) & self.operation.cut.keys()) - jobs.keys():
                yield data


def _reject_as_a_worker_would(root: Path) -> None:
    """Files in `pending/` that are no jobs are left to the workers' scan, not to recovery."""
    spool = open_spool(str(root), create=True)
    for name in list(spool.reader.names("pending")):
        sight = spool.reader.look("pending", name)
        if isinstance(sight, Unfit):
            reject(spool, spool.layout.entry("pending", name), sight.reason)


Figures = Callable[[str, Result], None]

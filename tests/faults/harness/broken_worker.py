"""A real worker with all its threads, one of whose calls fails, before or after a job's start."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from faults.harness import storm_verdict, strace
from faults.harness.errnos import EVERY_POINT, Point, points, some
from faults.harness.storm_jobs import SCRIPT
from faults.harness.strace import Call, End
from faults.harness.sweep import Result
from helpers.processes import living

from queuectl import Queue
from queuectl.errors import QueuectlError
from queuectl.worker.worker import Worker

PATIENCE = 60
"""Seconds after which a worker that has not ended is taken for one that never will."""
AT_EACH_START = ("dup2", "execve", "setsid", "chdir")
"""Calls of a command before it is one: each command is counted by itself, so that none starts."""
LET_IT_TRY = 2.0
"""Seconds after which a worker that can start nothing is told to stop."""
FIRST = 30
"""Of the calls of each name, the first so many are tried; of the rest only some, and only by
QUEUECTL_EVERY_POINT: they are those of a look through /proc, the same for each process there."""

JOBS = {
    "quick": ({}, {"completed"}),
    "orphan": ({}, {"completed"}),
    "long": ({"timeout": 0.2, "max_retries": 1}, {"dead"}),
}
"""Each job by its behaviour (see `storm_jobs`): what it asks for, and where it ends unbroken.

One that ends well; one that fails once and leaves a process; one that runs into its timeout."""
SETTINGS = {"kill_grace": "0.3", "backoff_base": "0", "max_retries": "2"}


class WorkerBench:
    """A place where a worker drains the same few jobs again and again, each time broken."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = directory / "spool"
        self._strace_log, self._said = directory / "strace.log", directory / "said"
        self._script = directory / "job.sh"
        self._place()
        assert self._work_in_this_process() == 0  # all is imported that is imported late

    def points(self) -> list[Point]:
        """List the points at which a worker is broken."""
        self._place()
        calls = strace.record_threads(self._work, self._strace_log)
        return some(points([call for call in calls if _is_tried(call)]), "worker")

    def sweep(self, found: list[Point]) -> Result:
        """Break a worker at each of the points, and let another do what is left."""
        wrong = []
        for call, fault in found:
            self._place()
            act = self._work_until_told if call.name in AT_EACH_START else self._work
            end = strace.run_with(act, call, fault, self._strace_log, threads=True)
            wrong += [f"{fault} at {call.text} (number {call.nth}): {line}"
                      for line in self._judge(end)]  # fmt: skip
        return Result(len(found), wrong)

    def _place(self) -> None:
        shutil.rmtree(self._directory)
        (self._directory / "locks").mkdir(parents=True)
        self._script.write_text(SCRIPT)
        self._script.chmod(0o700)
        queue = Queue(self._root)
        told = {"on_done": f"echo $QUEUECTL_JOB_ID >> {self._directory}/told"}
        for key, value in {**SETTINGS, **told}.items():
            queue.set_setting(key, value)
        command = [str(self._script), str(self._directory)]
        queue.enqueue_many(
            {"id": name, "tag": name, "command": [*command, name, name], **fields}
            for name, (fields, _) in JOBS.items()
        )

    def _work(self) -> None:
        """Drain the queue, in a child: the alarm ends it if nothing else does."""
        signal.alarm(PATIENCE)
        logging.basicConfig(filename=self._said, level="INFO", force=True)
        try:
            self._work_in_this_process()
        except (RuntimeError, MemoryError) as error:
            raise QueuectlError(f"leaving: {error}") from error
        finally:
            signal.alarm(0)

    def _work_until_told(self) -> None:
        stop = threading.Timer(LET_IT_TRY, os.kill, (os.getpid(), signal.SIGTERM))
        stop.daemon = True
        stop.start()
        self._work()
        stop.cancel()

    def _work_in_this_process(self) -> int:
        return Worker(Queue(self._root).spool, 2, drain=True).run().unsettled

    def _judge(self, end: End) -> Iterator[str]:
        if end.code == -signal.SIGALRM:
            yield "the worker did not end"
        elif end.code == strace.CRASH or end.code < 0:
            yield f"the worker crashed: {end.code}"
        after = strace.run(self._work, None)
        if after.code:
            yield f"the next worker did not drain: {after.code}"
        yield from self._explain(end)
        log, records = self._directory / "log", storm_verdict.read_spool(self._root)
        submitted = {name: {"completed", "dead"} for name in JOBS}
        yield from storm_verdict.judge(submitted, storm_verdict.read_log(log), records).all
        told = self._directory / "told"
        lines = told.read_text().split() if told.exists() else []
        for name, found in records.items():
            if found[0].state == "completed" and name not in lines:
                yield f"{name} is completed, and the hook was told {lines}"
        if pids := living(str(self._script)):
            yield f"processes of commands run on: {pids}"
        if left := [str(path) for path in (self._root / "processing").rglob("*")]:
            yield f"left: {left}"

    def _explain(self, end: End) -> Iterator[str]:
        """Name what went another way than unbroken, and nobody said why."""
        said = self._said.read_text()
        for name, (_, states) in JOBS.items():
            for record in storm_verdict.read_spool(self._root).get(name, []):
                if record.state not in states and f"job {name} " not in said:
                    yield f"{name} is {record.state}, and nobody said why: {said}"


def _is_tried(call: Call) -> bool:
    """Not mmap: CPython waits for ever for a thread that has no memory for its first frame."""
    if call.name == "mmap":
        return False
    nth = call.nth
    return nth <= FIRST or (EVERY_POINT and nth & (nth - 1) == 0)

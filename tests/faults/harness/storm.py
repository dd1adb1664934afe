"""A storm: workers drain thousands of jobs while everything that may happen to them happens.

By hand, for as long as you like, from the directory tests/:

    python -m faults.harness.storm --seconds 600 --jobs 20000 --workers 4 --seed 7

The storm's choices come from one seeded generator; what the machine makes of them does not, so
a seed repeats the plan and not the race.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from faults.harness.storm_by_hand import ByHand
from faults.harness.storm_jobs import BEHAVIOURS, LEAVERS, Plan
from faults.harness.storm_verdict import Verdict, judge, read_log, read_spool
from helpers import processes
from helpers.processes import WorkerProcess, none_left
from helpers.waiting import eventually

from queuectl import Queue
from queuectl.errors import QueuectlError
from queuectl.spool import integrity

SETTINGS = {
    "backoff_base": "1", "backoff_max": "1", "quiet_period": "0.3",
    "rescan_interval": "0.3", "kill_grace": "0.3", "max_retries": "50",
}  # fmt: skip
DRAIN_SECONDS = 180.0
DAMAGE = {"two places", "unreadable", "leftover claims"}
"""What `check` must not find; a reason that a killed worker had not yet written it may."""
KNOWN_ENDS = (0, -signal.SIGKILL, -signal.SIGTERM)  # SIGTERM before it has begun to listen


class Report(NamedTuple):
    """What a storm did and what it found."""

    figures: dict[str, int]
    verdict: Verdict
    left_over: list[str]

    @property
    def violations(self) -> list[str]:
        """All that must not be."""
        return [*self.verdict.all, *self.left_over]


class Storm:
    """One storm over one spool, in a directory of its own."""

    known_ends: tuple[int, ...] = KNOWN_ENDS

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        jobs: int,
        workers: int,
        slots: int,
        seconds: float,
        leavers: bool = False,
        by_hand: bool = False,
    ) -> None:
        self.root = directory / "spool"
        self._directory = directory
        self._draw = random.Random(seed)
        self._workers_wanted, self._slots, self._seconds = workers, slots, seconds
        self._queue = Queue(self.root)
        for key, value in SETTINGS.items():
            self._queue.set_setting(key, value)
        mix = LEAVERS if leavers else BEHAVIOURS
        self._plan = Plan(self._queue, directory, self._draw, jobs, mix)
        self._by_hand = ByHand(self._queue, directory, self._draw) if by_hand else None
        self._workers: list[WorkerProcess] = []
        self._stopped: set[int] = set()
        self._done: Counter[str] = Counter()

    def run(self) -> Report:
        """Storm for the given time, let what is left be drained, and judge."""
        umask = os.umask(0o077)
        with none_left(self._plan.mark):
            try:
                self._rage()
                self._calm()
            finally:
                os.umask(umask)
                for worker in self._workers:
                    if worker.runs:
                        worker.kill()
            return self._judge()

    # -- the storm ---------------------------------------------------------------------------

    def _rage(self) -> None:
        ends = time.monotonic() + self._seconds
        steps = [
            (30, self._submit), (14, self._kill), (6, self._stop_or_go), (3, self._ask_to_leave),
            (10, self._cancel), (10, self._retry), (8, self._move_by_hand),
            (5, self._plan.drop_what_is_no_job),
            *(self._by_hand.steps if self._by_hand else []),
        ]  # fmt: skip
        while time.monotonic() < ends:
            self._enough_workers()
            share = self._plan.submitted_share - (1 - (ends - time.monotonic()) / self._seconds)
            weights = [w if step != self._submit else w * (share < 0.05) for w, step in steps]
            self._draw.choices([step for _, step in steps], weights)[0]()
            time.sleep(self._draw.uniform(0, 0.08))  # the storm's pace; nothing is waited for
        while self._plan.submitted_share < 1:
            self._submit()

    def _submit(self) -> None:
        self._plan.submit_some()

    def _enough_workers(self) -> None:
        running = [worker for worker in self._workers if worker.runs]
        if len(running) < self._workers_wanted:
            self._start("--count", str(self._slots))

    def _start(self, *options: str) -> WorkerProcess:
        said = self._directory / f"worker-{len(self._workers)}.err"
        worker = WorkerProcess(said, *options, root=self.root, wait=False)
        self._workers.append(worker)
        self._done["workers started"] += 1
        return worker

    def _victim(self) -> WorkerProcess | None:
        running = [worker for worker in self._workers if worker.runs]
        return self._draw.choice(running) if running else None

    def _kill(self) -> None:
        if worker := self._victim():
            worker.kill()
            self._done["workers killed"] += 1

    def _stop_or_go(self) -> None:
        """Freeze a worker for a while: it holds its claims and its lock, and others go on."""
        if worker := self._victim():
            frozen = worker.pid in self._stopped
            worker.send(signal.SIGCONT if frozen else signal.SIGSTOP)
            self._stopped ^= {worker.pid}
            self._done["workers frozen"] += not frozen

    def _ask_to_leave(self) -> None:
        if worker := self._victim():
            worker.send(signal.SIGTERM)
            if self._draw.random() < 0.7:
                worker.send(signal.SIGTERM)
            self._done["workers asked to leave"] += 1

    def _cancel(self) -> None:
        """Cancel a job at random, one that is running now where there is one."""
        running = [place.id for place in self._queue.spool.reader.claims()]
        chosen = [i for i in running or self._plan.ids if self._plan.may_be_cancelled(i)]
        for job_id in self._draw.sample(chosen, min(1, len(chosen))):
            with contextlib.suppress(QueuectlError):
                self._queue.cancel(job_id)
                self._plan.cancelled.add(job_id)
                self._done["jobs cancelled"] += 1

    def _retry(self) -> None:
        names = [*self._queue.spool.reader.names("dead"), *self._queue.spool.reader.names("failed")]
        for name in self._draw.sample(names, min(3, len(names))):
            with contextlib.suppress(QueuectlError):
                self._queue.retry(name.removesuffix(".json"))
                self._done["jobs retried by hand"] += 1

    def _move_by_hand(self) -> None:
        """`mv failed/X.json pending/`: a legal operation; another may have been faster."""
        names = [n for n in self._queue.spool.reader.names("failed") if self._plan.may_be_moved(n)]
        for name in self._draw.sample(names, min(2, len(names))):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.root / "failed" / name, self.root / "pending" / name)
                self._done["jobs moved by hand"] += 1

    # -- after it ----------------------------------------------------------------------------

    def _calm(self) -> None:
        """Kill every worker, jobs and all still running, and let new ones drain what is left."""
        for worker in self._workers:
            if worker.runs:
                worker.kill()
                self._done["workers killed"] += 1
        self._plan.stop_failing()
        self._drain()
        for _ in range(3):  # a job that is given up on is no loss; run again, it must succeed
            given_up = self._plan.given_up()
            for job_id in given_up:
                self._queue.retry(job_id)
                self._done["jobs retried by hand"] += 1
            if given_up:
                self._drain()

    def _drain(self) -> None:
        drainers = [self._start("--count", str(self._slots), "--drain") for _ in range(2)]
        eventually(
            lambda: not any(worker.runs for worker in drainers), "the queue is drained",
            DRAIN_SECONDS,
        )  # fmt: skip

    def _judge(self) -> Report:
        log, records = read_log(self._plan.log), read_spool(self.root)
        by_hand = self._by_hand
        verdict = judge(
            self._plan.expected(), log, records,
            may_run_again=by_hand.moved_while_running if by_hand else (),
            are_removed=by_hand is not None,
        )  # fmt: skip
        crashes = [
            f"{worker.said_in.name} ended with {worker.process.returncode}: {worker.said[-2000:]}"
            for worker in self._workers
            if "Traceback" in worker.said or worker.process.returncode not in self.known_ends
        ]
        lost = sum(
            outcome == "lost"
            for found in records.values() for record in found
            for outcome in record.outcomes.values()
        )  # fmt: skip
        begun = sum(line.what == "begin" for line in log)
        refused = self._plan.not_kept()
        damage = [
            f"check finds {finding.damage}: {finding.path}: {finding.problem}"
            for finding in integrity.check(self._queue.spool, repair=False)
            if finding.damage in DAMAGE
        ]
        figures = {
            "jobs": len(self._plan.expected()), **self._done, **(by_hand.done if by_hand else {}),
            "attempts": begun, "lost entries": lost,
            "files that are no jobs": self._plan.malformed,
            "violations": len(verdict.all) + len(crashes) + len(refused) + len(damage),
        }  # fmt: skip
        return Report(figures, verdict, [*crashes, *refused, *damage])


def main() -> int:
    """Storm by hand; print the figures and return 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m faults.harness.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--leavers", action="store_true", help="commands that leave processes")
    parser.add_argument("--by-hand", action="store_true", help="mv, ln, touch, check, purge")
    parser.add_argument("--program", type=Path, help="the queuectl to run")
    parser.add_argument("--directory", type=Path, help="where the spool is made, and kept")
    given = vars(parser.parse_args())
    directory, program = given.pop("directory"), given.pop("program")
    processes.PROGRAM = program or processes.PROGRAM
    print(f"seed {given['seed']}", flush=True)
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm-")))
        directory.mkdir(parents=True, exist_ok=True)
        report = Storm(directory, **given).run()
    for what, number in report.figures.items():
        print(f"{number:>9} {what}")
    for violation in report.violations:
        print(violation)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())

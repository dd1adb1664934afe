"""`queuectl logs`: the output of a job's attempts."""

from __future__ import annotations

import os
import queue as queues
import sys
import threading
from collections.abc import Iterator
from typing import Annotated

import typer

from queuectl.cli import app
from queuectl.cli.printing import note, print_json, styled
from queuectl.cli.render import tell_if_no_worker
from queuectl.errors import InvalidInput
from queuectl.queue import Queue
from queuectl.view.output import Output

AttemptOption = Annotated[
    int | None,
    typer.Option(
        "--attempt", "-a", min=1, metavar="N", help="Number of the attempt [default: the newest]."
    ),
]
FollowOption = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Print output as it is written, until the job has ended."),
]


TailOption = Annotated[
    int | None,
    typer.Option("--tail", "-n", min=1, metavar="N", help="Print only the last N lines."),
]


def logs(
    context: typer.Context,
    job_ids: app.JobsArgument,
    attempt: AttemptOption = None,
    follow: FollowOption = False,
    tail: TailOption = None,
    as_json: app.JsonOption = False,
    spool: app.SpoolOption = None,
) -> None:
    """Print the output of jobs.

    Without `--attempt`, this is the output of the newest attempt. With `--follow`, queuectl
    waits for a job that has not started, and continues from one attempt to the next. Of several
    jobs, each line has the id in front.

    \b
    Examples:
      queuectl logs job1
      queuectl logs job1 --attempt 1
      queuectl logs job1 --follow --tail 20
      queuectl logs job1 job2
    """
    if follow and as_json:
        raise InvalidInput("--follow and --json cannot be used together")
    queue = app.open_queue(context, spool)
    ids = [*dict.fromkeys(queue.get(job_id).id for job_id in job_ids)]
    if follow:
        _follow(queue, ids, attempt, tail)
        return
    found = [_newest(queue, job_id, attempt) for job_id in ids]
    if as_json:
        documents = [
            {
                "path": path,
                "output": b"".join(queue.read_log(i, n, tail=tail)).decode(errors="replace"),
            }
            for i, n, path in found
        ]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    printer = _Printer(ids)
    for job_id, number, path in found:
        if not os.path.exists(path):
            name = os.path.basename(path)
            note(f"{name} does not exist: the attempt wrote no log, or the log was removed")
        for data in queue.read_log(job_id, number, tail=tail):
            printer.write(job_id, data)
        printer.end(job_id)


def _newest(queue: Queue, job_id: str, attempt: int | None) -> tuple[str, int, str]:
    """Return a job's id, the number of the attempt that is meant, and the path of its log."""
    number = attempt or queue.newest_attempt(job_id)
    path = queue.log_path(job_id, number or None, exact=True)  # raises if there is no attempt
    return job_id, number, path


class _Printer:
    """Prints output as it is or, of several jobs, whole lines with the id in front."""

    def __init__(self, ids: list[str]) -> None:
        self._width = max(map(len, ids)) if len(ids) > 1 else 0
        self._begun = dict.fromkeys(ids, b"")

    def write(self, job_id: str, data: bytes) -> None:
        """Print a piece of a job's output; keep the beginning of a line until its end comes."""
        if self._width:
            *lines, self._begun[job_id] = (self._begun[job_id] + data).split(b"\n")
            name = f"{job_id:<{self._width}} | ".encode()
            data = b"".join(name + line + b"\n" for line in lines)
        sys.stdout.buffer.write(data)

    def end(self, job_id: str) -> None:
        """Print the last line of an attempt if it has no end."""
        if self._begun[job_id]:
            self.write(job_id, b"\n")


def _follow(queue: Queue, ids: list[str], attempt: int | None, tail: int | None) -> None:
    printer = _Printer(ids)
    if any(queue.get(job_id, exact=True).state in ("pending", "failed") for job_id in ids):
        tell_if_no_worker(queue)
    for job_id, piece in _pieces(queue, ids, attempt, tail):
        if piece is None:
            printer.end(job_id)
            state = queue.get(job_id, exact=True).state
            note(styled(f"==> {job_id} is {state} <==", "dim", sys.stderr))
            continue
        if not piece.data:
            printer.end(job_id)
            note(styled(f"==> {job_id} attempt {piece.attempt} <==", "dim", sys.stderr))
        printer.write(job_id, piece.data)
        sys.stdout.buffer.flush()


def _pieces(
    queue: Queue, ids: list[str], attempt: int | None, tail: int | None
) -> Iterator[tuple[str, Output | None]]:
    """Yield the output of jobs as it comes, each with the job's id; None at the job's end."""

    def pieces(job_id: str) -> Iterator[Output]:
        return queue.follow(job_id, attempt or max(queue.newest_attempt(job_id), 1), tail=tail)

    if len(ids) == 1:
        yield from ((ids[0], piece) for piece in pieces(ids[0]))
        yield ids[0], None
        return
    come: queues.Queue[tuple[str, Output | BaseException | None]] = queues.Queue(maxsize=64)

    def read(job_id: str) -> None:
        try:
            for piece in pieces(job_id):
                come.put((job_id, piece))
            come.put((job_id, None))
        except BaseException as error:
            come.put((job_id, error))

    for job_id in ids:
        threading.Thread(target=read, args=(job_id,), daemon=True).start()
    left = len(ids)
    while left:
        job_id, piece = come.get()
        if isinstance(piece, BaseException):
            raise piece
        left -= piece is None
        yield job_id, piece

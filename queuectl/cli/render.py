"""How each kind of result looks: to people, as text or a table, and as JSON.

Commands fetch data and give it to `show`. Nothing else decides how data is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from queuectl.cli.printing import note, print_json, styled, table
from queuectl.record.settings import describe
from queuectl.view.status import JobStatus, QueueStatus, WorkerStatus
from queuectl.view.text import ago, between, command_of, printable, until

if TYPE_CHECKING:
    from queuectl.queue import Finding, Queue
    from queuectl.view.health import Reason

NO_WORKER = "no worker is running: start one with `queuectl worker start`"

T = TypeVar("T")


def show(data: T, as_json: bool, text: Callable[[T], object]) -> None:
    """Print data as one JSON document, or as `text` prints it for people."""
    if as_json:
        print_json(_document(data))
    else:
        text(data)


def _document(data: Any) -> Any:
    if isinstance(data, JobStatus):
        return data.to_json()
    return [_document(each) for each in data] if isinstance(data, list) else data


# -- the queue -------------------------------------------------------------------------------


def status(seen: QueueStatus) -> None:
    """Print the number of jobs in each state, and of workers."""
    print(f"spool       {printable(seen.spool)}")
    for state, count in seen.jobs.items():
        hint = "   queuectl dlq list" if state == "dead" and count else ""
        print(f"{state:<11} {styled(str(count), state if count else 'dim')}{styled(hint, 'dim')}")
    alive = [worker for worker in seen.workers if worker.alive]
    slots = sum(worker.slots for worker in alive)
    busy = sum(len(worker.running) for worker in alive)
    leaving = sum(worker.leaving for worker in alive)
    words = f"   {busy} of {slots} slots busy" if alive else ""
    print(f"workers     {len(alive)}{words}" + (f", {leaving} leaving" if leaving else ""))
    if len(alive) == leaving and any(
        seen.jobs[state] for state in ("pending", "failed", "processing")
    ):
        note(NO_WORKER)


def tell_if_no_worker(queue: Queue) -> None:
    """Print a note if no worker takes jobs, where somebody waits for one."""
    if not any(worker.takes_jobs for worker in queue.workers()):
        note(NO_WORKER)


def workers(found: list[WorkerStatus], commands: Mapping[str, str]) -> None:
    """Print workers, with a line for each job that runs; `commands` has the commands by id."""
    if not found:
        note(NO_WORKER)
        return
    table(
        ("WORKER", "PID", "UP", "SLOT", "RUNNING", "ATTEMPT", "FOR", "JOB PID", "COMMAND"),
        [row for worker in found for row in _worker_rows(worker, commands)],
        flexible={0: 12, 4: 12, 8: 12},
        droppable=(5, 1),
    )


def _worker_rows(worker: WorkerStatus, commands: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    up = ago(worker.started_at) if worker.alive else "died"
    up = "leaving" if worker.leaving else up
    about = (worker.name, str(worker.pid), up)
    for busy in worker.running:
        yield (
            *about,
            f"{busy.slot or '-'}/{worker.slots}",
            busy.id,
            str(busy.attempt),
            ago(busy.started_at),
            str(busy.pid or "-"),
            commands.get(busy.id, "-"),
        )
        about = ("", "", "")
    if not worker.running:
        yield (*about, f"-/{worker.slots}", "idle" if worker.alive else "-", *["-"] * 4)


# -- jobs ------------------------------------------------------------------------------------


def jobs(found: list[JobStatus]) -> None:
    """Print a table of jobs."""
    table(
        ("ID", "STATE", "PRI", "AGE", "TRIES", "TOOK", "NEXT", "COMMAND", "LAST ERROR"),
        map(_job_row, found),
        flexible={0: 24, 7: 16, 8: 12},
        droppable=(2, 5, 4, 6, 8, 3),
    )


def _job_row(status: JobStatus) -> tuple[str, ...]:
    job = status.job
    if job is None:
        return status.id, status.state, *["-"] * 6, status.reason or "-"
    last = job.last_attempt
    took = between(last.started_at, last.finished_at) if last else "-"
    if status.started_at:
        took = ago(status.started_at)
    waits = status.state == "failed" or (status.state == "pending" and job.run_at)
    return (
        status.id,
        status.state,
        str(job.priority or "-"),
        ago(job.created_at),
        str(status.tries),
        took,
        until(job.run_at) if waits else "-",
        command_of(job),
        status.reason or "-",
    )


def dead_jobs(found: list[JobStatus]) -> None:
    """Print a table of dead jobs, with the reason why each is dead."""
    header = ("ID", "DIED", "ATTEMPTS", "COMMAND", "REASON")
    table(header, map(_dead_row, found), flexible={0: 24, 3: 16, 4: 16}, droppable=(2,))


def _dead_row(status: JobStatus) -> tuple[str, ...]:
    died = f"{ago(status.ended_at)} ago" if status.ended_at else "-"
    tries = str(status.tries) if status.job else "-"
    return status.id, died, tries, command_of(status.job), status.reason or "-"


def job(status: JobStatus) -> None:
    """Print all that is known of one job, and a table of its attempts."""
    for name, value in _facts(status):
        print(f"{printable(name):<12} {styled(printable(value), value)}")
    if status.job is None or not status.job.history:
        return
    print()
    table(
        ("ATTEMPT", "OUTCOME", "EXIT", "STARTED", "TOOK", "WORKER", "ERROR"),
        [
            (
                str(entry.attempt),
                entry.outcome,
                entry.signal or ("-" if entry.exit_code is None else str(entry.exit_code)),
                f"{ago(entry.started_at)} ago" if entry.started_at else "-",
                between(entry.started_at, entry.finished_at),
                entry.worker or "-",
                entry.error or "-",
            )
            for entry in status.job.history
        ],
        flexible={5: 8, 6: 16},
    )


def _facts(status: JobStatus) -> Iterable[tuple[str, str]]:
    yield "id", status.id
    yield "state", status.state
    yield "file", status.path
    if status.problem:
        yield "problem", status.problem
    if status.worker:
        slot = f", slot {status.slot}" if status.slot else ""
        pid = f", pid {status.pid}" if status.pid and status.problem is None else ""
        yield "worker", f"{status.worker}{slot}{pid}"
        yield "attempt", f"{status.attempt}, started {ago(status.started_at)} ago"
    if status.job is None:
        return
    job = status.job
    yield "command", command_of(job)
    yield "created", f"{job.created_at} ({ago(job.created_at)} ago)"
    if job.run_at and status.state in ("pending", "failed"):
        yield "runs at", f"{job.run_at} (in {until(job.run_at)})"
    shown = {"id", "command", "attempts", "created_at", "updated_at", "run_at", "history"}
    if job.attempts:
        yield "attempts", str(job.attempts)
    for name, text in job.raw.items():
        if name not in shown:
            yield name, msgspec.json.format(bytes(text), indent=0).decode()


# -- settings --------------------------------------------------------------------------------


def settings(values: Mapping[str, Any]) -> None:
    """Print all settings, with their defaults where they differ, and their meanings."""
    rows = []
    for info in describe().values():
        value = values[info.name]
        changed = "" if value == info.default else f"(default {setting(info.default)})"
        rows.append((info.name, setting(value), changed, info.meaning))
    table(("KEY", "VALUE", "", "MEANING"), rows, flexible={3: 16})


def setting(value: Any) -> str:
    """Return a setting's value as text."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# -- checks ----------------------------------------------------------------------------------


def findings(found: list[Finding]) -> None:
    """Print what is damaged in a spool, and what fixes it."""
    for finding in found:
        print(f"{styled(finding.damage, 'bold')}: {printable(finding.path)}")
        print(f"  {printable(finding.problem)}")
        print(f"  {printable(_remedy(finding))}")
    note(_conclusion(found))


def _remedy(finding: Finding) -> str:
    if finding.failure:
        return f"could not be fixed: {finding.failure}"
    if finding.repaired:
        return f"fixed: {finding.remedy}"
    return f"fix: {finding.remedy}" if finding.remedy else "not fixed: you must decide what to do"


def _conclusion(found: list[Finding]) -> str:
    left = [finding for finding in found if not finding.repaired]
    fixable = sum(finding.remedy is not None and finding.failure is None for finding in left)
    if not found:
        return "no problems found"
    if not left:
        return f"{_problems(len(found))} found and fixed"
    if not fixable:
        return f"{_problems(len(left))} left for you to fix"
    part = f"{fixable} of them" if fixable < len(left) else "it" if fixable == 1 else "them"
    return f"{_problems(len(left))} found; `queuectl check --repair` fixes {part}"


def _problems(count: int) -> str:
    return f"{count} problem{'' if count == 1 else 's'}"


def reasons(found: list[Reason]) -> None:
    """Print why a queue is unhealthy."""
    for each in found:
        print(f"{styled(each.check, 'bold')}: {printable(each.reason)}")

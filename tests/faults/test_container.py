"""Workers in pid namespaces of their own, as in containers: the pids are small."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.namespaces import FORGET_DISKS, a_namespace_is_made
from helpers.processes import PROGRAM, WorkerProcess, worker
from helpers.waiting import eventually

from queuectl import Queue

SEED = int(os.environ.get("QUEUECTL_STORM_SEED") or random.SystemRandom().randrange(1 << 32))
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
CONTAINER = (*UNSHARE, "sh", "-c", f'{FORGET_DISKS}; exec "$@"', "-")
"""A prefix for a command that becomes PID 1 of a container."""

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="a pid namespace needs Linux, root and unshare",
    ),
    pytest.mark.timeout(120),
]

KILLED_WORKER = """
"$QUEUECTL" worker start 2> "$OUT/first" & worker=$!
until test -s "$OUT/ready"; do sleep 0.02; done
until grep -q '"pid": [0-9]' "$QUEUECTL_SPOOL"/processing/*/x.1.run; do sleep 0.02; done
cat "$QUEUECTL_SPOOL"/processing/*/x.1.run > "$OUT/run"
"$QUEUECTL" worker list --json > "$OUT/list"
kill -KILL $worker
wait $worker
exec "$QUEUECTL" worker start --drain 2> "$OUT/second"
"""


def _in_namespaces(
    unshare: Sequence[str],
    out: Path,
    *command: str,
    told: Mapping[str, str],
    seconds: float = 40,
) -> subprocess.CompletedProcess[str]:
    """Run a command in new namespaces; no disk is unmounted before they have forgotten it."""
    script = f'{FORGET_DISKS}; touch "$OUT/alone"; exec "$@"'
    environment = {**os.environ, **told, "OUT": str(out)}
    with a_namespace_is_made():
        process = subprocess.Popen(
            [*unshare, "sh", "-c", script, "-", *command],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        eventually(lambda: (out / "alone").exists() or process.poll() is not None)
    said, complained = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def test_a_small_pid_is_known_to_people_and_to_recovery(queue: Queue, tmp_path: Path) -> None:
    job = f"test $QUEUECTL_ATTEMPT != 1 || {{ echo $$ > {tmp_path}/ready; exec sleep 1000; }}"
    queue.enqueue(job, id="x", max_retries=1)
    told = {"QUEUECTL": str(PROGRAM), "QUEUECTL_SPOOL": queue.path}
    ended = _in_namespaces(UNSHARE, tmp_path, "sh", "-c", KILLED_WORKER, told=told)
    assert ended.returncode == 0, ended.stderr
    pid = int((tmp_path / "ready").read_text())
    assert pid < 1000
    assert json.loads((tmp_path / "run").read_text())["pid"] == pid
    listed: list[dict[str, Any]] = json.loads((tmp_path / "list").read_text())
    assert [slot["pid"] for worker in listed for slot in worker["running"]] == [pid]
    found = queue.get("x")
    outcomes = [entry.outcome for entry in found.job.history]
    assert (found.state, outcomes) == ("completed", ["lost", "ok"])


@contextlib.contextmanager
def _worker(root: Path, said: Path, *options: str) -> Iterator[WorkerProcess]:
    """Start a worker as PID 1 of a container."""
    with contextlib.ExitStack() as stack:
        with a_namespace_is_made():
            process = stack.enter_context(worker(root, said, *options, prefix=CONTAINER))
            eventually(lambda: "started" in process.said, "the worker starts")
        yield process


def _children(*parents: int) -> set[int]:
    """The children of some processes, zombies included."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
                if int(fields[1]) in parents:
                    found.add(int(name))
    return found


def _first_process(container: WorkerProcess) -> int:
    return next(iter(_children(container.pid)))


def test_a_worker_that_is_the_first_process_leaves_no_zombies(
    queue: Queue, root: Path, tmp_path: Path
) -> None:
    orphan = f"(sh -c 'until test -e {tmp_path}/go; do sleep 0.01; done' & echo >> {tmp_path}/n)"
    ids = [*queue.enqueue_many({"command": f"{orphan}; exit 0"} for _ in range(20))]
    ids += queue.enqueue_many({"command": "exit 3", "max_retries": 0} for _ in range(20))
    with _worker(root, tmp_path / "said", "--count", "4") as container:
        first = _first_process(container)
        for job_id in ids:
            queue.wait([job_id], timeout=30)
        (tmp_path / "go").touch()
        eventually(lambda: len(_children(first, *_children(first))) <= 1, "only the worker", 15)
        codes = [queue.get(job_id).job.last_attempt.exit_code for job_id in ids]
        assert codes == [0] * 20 + [3] * 20


@pytest.mark.parametrize(("signals", "end"), [(1, "completed"), (2, "pending")])
def test_the_first_process_passes_signals_on_to_the_worker(
    queue: Queue, root: Path, tmp_path: Path, signals: int, end: str
) -> None:
    queue.enqueue(f"touch {tmp_path}/up; until test -e {tmp_path}/go; do sleep 0.01; done", id="a")
    with _worker(root, tmp_path / "said") as container:
        first = _first_process(container)
        eventually((tmp_path / "up").exists)
        os.kill(first, signal.SIGTERM)
        eventually(lambda: "stopping when" in container.said)
        if signals == 2:
            os.kill(first, signal.SIGTERM)
        else:
            (tmp_path / "go").touch()
        assert container.left() == 0
    assert queue.get("a").state == end


def test_the_first_process_ends_as_the_worker_does(
    queue: Queue, root: Path, tmp_path: Path
) -> None:
    with _worker(root, tmp_path / "said") as container:
        first = _first_process(container)
        os.kill(eventually(lambda: _children(first)).pop(), signal.SIGKILL)
        assert container.left() == 128 + signal.SIGKILL


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
def test_in_a_storm_over_two_containers_with_one_host_name_nothing_is_violated(
    tmp_path: Path, figures: Callable[..., None]
) -> None:
    print(f"storm seed {SEED}: again with QUEUECTL_STORM_SEED={SEED}")
    given = (str(tmp_path), str(SEED), "200", "6")
    ended = _in_namespaces(
        ("unshare", "--mount"), tmp_path,
        *(sys.executable, "-m", "faults.harness.container_storm", *given),
        told={"PYTHONPATH": str(Path(__file__).parents[1])}, seconds=110,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    figures("storm over two containers", **report["figures"])
    assert report["violations"] == [], f"seed {SEED}"
    assert report["figures"]["lost entries"] > 0, "no container was killed while a job of its ran"

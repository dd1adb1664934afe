"""The jobs of a storm: how they behave, how they are submitted, and where each may end."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.processes import queuectl

from queuectl import Queue

SCRIPT = """\
#!/bin/sh
# job.sh DIRECTORY TAG BEHAVIOUR: tell of begin and end, and hold a lock while anything of it lives
say() { echo "$1 $tag $QUEUECTL_ATTEMPT $QUEUECTL_RUN" >> "$directory/log"; }
directory=$1 tag=$2
leave() { [ "$QUEUECTL_ATTEMPT" -gt 1 ] || { "$@" & exit 1; }; }  # and fail, so that it is ended
exec 9>> "$directory/locks/$tag"
flock -n 9 || say overlap
say begin
case $3 in
quick) ;;
short) sleep 0.$((QUEUECTL_ATTEMPT % 3)) ;;
long) sleep 0.9 ;;
deaf) trap '' TERM; sleep 0.5; sleep 0.2 ;;
orphan) setsid sh -c 'sleep 20; :' "$0" & [ "$QUEUECTL_ATTEMPT" -gt 1 ] || exit 1 ;;
once) [ "$QUEUECTL_ATTEMPT" -gt 1 ] || exit 3 ;;
never) [ -e "$directory/calm" ] || exit 4 ;;
stubborn) leave sh -c 'trap "" TERM; while :; do sleep 0.2; done' "$0" ;;
bare) leave setsid env -i sh -c 'trap "" TERM; sleep 20; :' "$0" ;;
shed) leave setsid bash -c 'exec 64>&-; trap "" TERM; sleep 20; :' "$0" ;;
user) leave setpriv --reuid=65534 --clear-groups setsid sh -c 'sleep 20; :' "$0" ;;
esac
[ "$3" != orphan ] || kill "$!" 2> /dev/null
say end
"""

BEHAVIOURS = {
    "quick": 62, "short": 10, "long": 6, "deaf": 3, "orphan": 4, "once": 9, "never": 6,
}  # fmt: skip
LEAVERS = {
    "quick": 30, "deaf": 5, "orphan": 10, "stubborn": 10, "bare": 15, "shed": 15, "user": 15,
}  # fmt: skip
"""Commands whose processes do what they can to outlive them; root may change its user."""
ODD_TIMES = (
    "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999-23:59",
    "2038-01-19T03:14:08Z", "9999-12-31T23:59:59.999999Z", "2024-02-29T23:59:59+14:00",
)  # fmt: skip
FAR = "9999-01-01T00:00:00Z"
NO_JOBS = (
    b"", b"{", b'{"command": "ech', b"[]", b"\xff\xfe\x00", b'{"command": 7}', b'{"id": "x"}',
    b'{"command": "true", "run_at": "yesterday"}', b'{"command": "true", "priority": 1e99}',
)  # fmt: skip
BATCH = 25


class Plan:
    """The jobs of one storm, submitted bit by bit in every way there is."""

    def __init__(
        self,
        queue: Queue,
        directory: Path,
        draw: random.Random,
        jobs: int,
        mix: Mapping[str, int] = BEHAVIOURS,
    ) -> None:
        self._mix = mix
        self.log = directory / "log"
        self.cancelled: set[str] = set()
        self._queue, self._directory, self._draw, self._jobs = queue, directory, draw, jobs
        self._root = Path(queue.path)
        self._scheduled: set[str] = set()
        self._no_jobs: list[bytes] = []
        self._taken: set[str] = set()
        self._submitted: dict[str, str] = {}
        (directory / "locks").mkdir()
        self._script = directory / "job.sh"
        self._script.write_text(SCRIPT)
        self._script.chmod(0o700)

    @property
    def mark(self) -> str:
        """What every process of the storm's jobs has in its arguments."""
        return str(self._script)

    @property
    def ids(self) -> list[str]:
        """The ids asked for so far."""
        return [*self._submitted.values()]

    @property
    def submitted_share(self) -> float:
        """How much of the plan is submitted, from 0 to 1."""
        return len(self._submitted) / self._jobs

    @property
    def malformed(self) -> int:
        """How many files were dropped that are no jobs."""
        return len(self._no_jobs)

    def submit_some(self) -> None:
        """Submit the next few jobs: one, a batch, or by putting files there."""
        how = self._draw.choice([self._enqueue, self._batch, self._drop, self._drop_in_place])
        left = self._jobs - len(self._submitted)
        count = 1 if how == self._enqueue else min(left, self._draw.randrange(2, BATCH))
        how([self._new() for _ in range(count)])

    def _new(self) -> dict[str, Any]:
        """Make the next job. Every 20th asks for an id that is taken; the tag tells it apart."""
        draw = self._draw
        tag = f"t{len(self._submitted):06}"
        job_id = f"job-{tag}"
        behaviour = draw.choices([*self._mix], [*self._mix.values()])[0]
        job: dict[str, Any] = {
            "id": job_id, "tag": tag,
            "command": [str(self._script), str(self._directory), tag, behaviour],
        }  # fmt: skip
        if behaviour == "never":
            job["max_retries"] = 1
        if draw.random() < 0.2:
            job["priority"] = draw.randrange(-3, 4)
        if draw.random() < 0.1:
            job["timeout"] = 30
        if draw.random() < 0.1:
            job["run_at"] = draw.choice(ODD_TIMES)
            job["created_at"] = draw.choice(ODD_TIMES)
            if job["run_at"] > "2030":
                self._scheduled.add(tag)
        self._submitted[tag] = job_id
        return job

    def _enqueue(self, jobs: list[dict[str, Any]]) -> None:
        for job in jobs:
            job = {**job, "command": " ".join(job["command"])}  # the shell's form as well
            done = queuectl(self._root, "enqueue", json.dumps(job))
            assert done.returncode == 0, done.stderr

    def _batch(self, jobs: list[dict[str, Any]]) -> None:
        self._queue.enqueue_many(jobs)

    def _drop(self, jobs: list[dict[str, Any]]) -> None:
        for job in jobs:
            if self._draw.random() < 0.1 and self._taken_id(job):
                name = f"again-{job['tag']}.json"
            else:
                name = f"{job['id']}.json"
            staged = self._root / "tmp" / f"dropped-{job['tag']}"
            staged.write_text(json.dumps(job))
            staged.rename(self._root / "pending" / name)

    def _taken_id(self, job: dict[str, Any]) -> bool:
        """Let a job ask for an id that another has: it is claimed as ID.2 or the next number."""
        candidates = [
            i for i in self.ids if i != job["id"] and i not in self._taken | self.cancelled
        ]
        if not candidates:
            return False
        job["id"] = self._draw.choice(candidates)
        self._taken.add(job["id"])
        self._submitted[job["tag"]] = job["id"]
        return True

    def _drop_in_place(self, jobs: list[dict[str, Any]]) -> None:
        """Write as the simplest program would: open, write a half, write the rest."""
        files = []
        for job in jobs:
            data = json.dumps(job).encode()
            file = (self._root / "pending" / f"{job['id']}.json").open("wb", buffering=0)
            file.write(data[: len(data) // 2])
            files.append((file, data[len(data) // 2 :]))
        for file, rest in files:
            with file:
                file.write(rest)

    def drop_what_is_no_job(self) -> None:
        """Drop a file that no worker can run; its bytes must come to `dead/` untouched."""
        number = len(self._no_jobs)
        data = self._draw.choice(NO_JOBS)
        if data[:1] == b"{" and data[-1:] == b"}":
            data = data[:-1] + f', "n": {number}'.encode() + b"}"
        else:
            data += f" {number}".encode()
        self._no_jobs.append(data)
        (self._root / "pending" / f"no-job-{number}.json").write_bytes(data)

    def not_kept(self) -> list[str]:
        """Name the files that are no jobs and do not stand in `dead/` as they were dropped."""
        kept = {path.read_bytes() for path in (self._root / "dead").glob("*.json")}
        return [f"not kept in dead/: {data!r}" for data in self._no_jobs if data not in kept]

    def stop_failing(self) -> None:
        """From now on those that never succeeded do, so that the queue can be drained."""
        (self._directory / "calm").touch()

    def given_up(self) -> list[str]:
        """Return the ids of dead jobs whose last attempt failed or was lost."""
        found = []
        for path in (self._root / "dead").glob("*.json"):
            try:
                history = json.loads(path.read_bytes())["history"]
            except (ValueError, KeyError, TypeError):
                continue
            if history and history[-1]["outcome"] != "cancelled":
                found.append(path.stem)
        return found

    def may_be_cancelled(self, job_id: str) -> bool:
        """One of ten: most of the jobs are to be seen through to their end."""
        return job_id[-1] == "0" and job_id not in self._taken and "." not in job_id

    def may_be_moved(self, name: str) -> bool:
        """Not those whose id a waiting file may ask for too: mv would overwrite it."""
        return name.removesuffix(".json") not in self._taken

    def expected(self) -> dict[str, set[str]]:
        """Return for each job the states in which it may end."""
        return {
            tag: (
                ({"pending"} if tag in self._scheduled else {"completed"})
                | ({"dead", "completed"} if job_id in self.cancelled else set())
                | ({"completed"} if tag in self._scheduled and job_id in self.cancelled else set())
            )
            for tag, job_id in self._submitted.items()
        }

"""The names in a spool: the only module that joins its paths or takes them apart."""

from __future__ import annotations

import itertools
import os
import re
from typing import Final

from queuectl.record.ids import check_id, is_id
from queuectl.record.job import STATES, State

DIRECTORIES: Final[dict[State, str]] = {
    "pending": "pending",
    "processing": "processing",
    "completed": "done",
    "failed": "failed",
    "dead": "dead",
}
"""The directory of each state."""

WORKER_LOGS = ("log", "log.1")
"""The endings of the log of a worker in the background, and of its older part."""

LEFTOVER_SECONDS = 36 * 3600
"""The age of a file in `tmp/` from which it is a leftover (the age is Maildir's)."""

_CLAIM = re.compile(r"(?P<id>.+)\.(?P<attempt>\d{1,9})\.(?P<ending>json|run|cancel)", re.ASCII)
_OURS, _number = os.urandom(6).hex(), itertools.count()  # no other process makes such names
_HOOK = re.compile(r"(?P<id>.+)\.(?P<attempt>\d{1,9})\.[0-9a-f]{8}\.hook", re.ASCII)
_HOOKS = "hooks"
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u to misread
_NEW_ID = re.compile(f"[{_ID_ALPHABET}]{{12}}")
_WORKER = re.compile("[A-Za-z0-9][A-Za-z0-9-]{0,119}")
_NOT_IN_NAMES = re.compile("[^A-Za-z0-9-]+")


class Layout:
    """The paths of one spool."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.settings = os.path.join(root, "queue.toml")
        self.tmp = os.path.join(root, "tmp")
        self.logs = os.path.join(root, "logs")
        self.workers = os.path.join(root, "workers")
        self.processing = os.path.join(root, DIRECTORIES["processing"])
        self.states = {state: os.path.join(root, DIRECTORIES[state]) for state in STATES}
        self.id_lock = os.path.join(self.states["pending"], ".lock")

    @property
    def marks(self) -> tuple[str, ...]:
        """The paths that mark a directory as a spool: any of them does."""
        return self.states["pending"], self.settings

    @property
    def directories(self) -> list[str]:
        """Every directory of the spool, in the order in which they are made.

        `pending/`, which marks a spool, is the first: a process that dies in the middle leaves a
        spool that the next one completes.
        """
        return [*self.states.values(), self.tmp, self.logs, self.workers]

    @property
    def settings_lock(self) -> str:
        """The path of the lock under which the settings are edited."""
        return f"{self.settings}.lock"

    @property
    def names_in_root(self) -> set[str]:
        """The names that queuectl itself uses in the spool's own directory."""
        paths = [*self.directories, self.settings, self.settings_lock]
        return {os.path.basename(path) for path in paths}

    def entry(self, state: State, name: str) -> str:
        """The path of a file as it was listed in a state's directory."""
        return f"{self.states[state]}/{name}"

    def job(self, state: State, job_id: str) -> str:
        """The path of a job that nobody has claimed."""
        return f"{self.states[state]}/{check_id(job_id)}.json"

    def reason(self, job_id: str) -> str:
        """The path of the reason why a file in `dead/` is not a valid job."""
        return f"{self.states['dead']}/{check_id(job_id)}.error"

    def claims(self, worker: str) -> str:
        """The directory of a worker's claims."""
        return f"{self.processing}/{worker}"

    def claim(self, worker: str, job_id: str, attempt: int, ending: str = "json") -> str:
        """The path of a claimed job, or of its `run` or `cancel` file."""
        return f"{self.processing}/{worker}/{check_id(job_id)}.{attempt}.{ending}"

    def in_claims(self, worker: str, name: str) -> str:
        """The path of a file as it was listed among a worker's claims."""
        return f"{self.processing}/{worker}/{name}"

    def hooks(self, worker: str) -> str:
        """The directory of a worker's hook markers.

        They have a directory of their own because every claim lists the claims: with 10,000
        markers among them that would cost 16 ms instead of 0.2.
        """
        return os.path.join(self.processing, worker, _HOOKS)

    def hook(self, worker: str, name: str) -> str:
        """The path of one of a worker's hook markers."""
        return os.path.join(self.processing, worker, _HOOKS, name)

    def in_logs(self, name: str) -> str:
        """The path of a file as it was listed in `logs/`."""
        return f"{self.logs}/{name}"

    def in_workers(self, name: str) -> str:
        """The path of a file as it was listed in `workers/`."""
        return f"{self.workers}/{name}"

    def log(self, job_id: str, attempt: int) -> str:
        """The path of an attempt's output."""
        return f"{self.logs}/{check_id(job_id)}.{attempt}.log"

    def worker(self, name: str, ending: str) -> str:
        """The path of a worker's `json`, `lock`, `stop` or `log` file, or of its `log.1`."""
        return f"{self.workers}/{name}.{ending}"

    def staged(self) -> str:
        """A new path in `tmp/`."""
        return f"{self.tmp}/{os.getpid()}.{_OURS}.{next(_number)}"

    def in_root(self, relative: str) -> str:
        """The path of a file that a record names: the reverse of `relative`."""
        return os.path.join(self.root, relative)

    def relative(self, path: str) -> str:
        """A path as records have it: from the spool's own directory."""
        return path.removeprefix(self.root + "/")


def is_worker(name: str) -> bool:
    """Whether this may be a worker's name."""
    return _WORKER.fullmatch(name) is not None


def is_worker_file(name: str) -> bool:
    """Whether this may be the name of a worker's file in `workers/`."""
    stem, _, ending = name.partition(".")
    return is_worker(stem) and ending in ("json", "lock", "stop", *WORKER_LOGS)


def is_job_name(name: str) -> bool:
    """Whether a directory entry is a job: `*.json`, not hidden."""
    return name.endswith(".json") and not name.startswith(".")


def stem(name: str) -> str:
    """A job file's name without `.json`."""
    return name.removesuffix(".json")


def parse_claim(name: str) -> tuple[str, int, str] | None:
    """Parse `ID.ATTEMPT.json` (or `.run`, `.cancel`); None for any other name."""
    match = _CLAIM.fullmatch(name)
    if match is None or not is_id(match["id"]):
        return None
    return match["id"], int(match["attempt"]), match["ending"]


def is_claim_name(name: str) -> bool:
    """Whether this may be the name of a file in a worker's directory of claims."""
    return name == _HOOKS or parse_claim(name) is not None


def parse_hook(name: str) -> tuple[str, int] | None:
    """Parse `ID.ATTEMPT.XXXXXXXX.hook`; None for any other name."""
    match = _HOOK.fullmatch(name)
    return (match["id"], int(match["attempt"])) if match and is_id(match["id"]) else None


def new_hook(job_id: str, attempt: int) -> str:
    """Make a marker's name: unique, for one id may have an attempt twice, after a purge."""
    return f"{check_id(job_id)}.{attempt}.{os.urandom(4).hex()}.hook"


def parse_log(name: str) -> tuple[str, int] | None:
    """Parse `ID.ATTEMPT.log`; None for any other name."""
    claim = parse_claim(name.removesuffix(".log") + ".run") if name.endswith(".log") else None
    return claim[:2] if claim else None


def new_id() -> str:
    """Make a job id: 60 random bits, so that a few letters of it are enough to name the job."""
    bits = int.from_bytes(os.urandom(8), "big")
    return "".join(_ID_ALPHABET[bits >> shift & 31] for shift in range(0, 60, 5))


def is_new_id(text: str) -> bool:
    """Whether `new_id` may have made this id."""
    return _NEW_ID.fullmatch(text) is not None


def new_worker(host: str, pid: int) -> str:
    """Make a worker's name: HOST-PID-XXXX."""
    return f"{_NOT_IN_NAMES.sub('-', host)[:64].strip('-') or 'host'}-{pid}-{os.urandom(2).hex()}"

"""One contender's work, timed inside a process of its own: prints {"jobs": n, "seconds": s}.

usage: python side.py CONTENDER enqueue|bulk|drain DIR JOBS [SLOTS]

It runs under the project's interpreter or under the one of the peers' environment, so it imports
nothing of the benchmark. Only the loop is timed: imports, tables and connections come before.
The jobs are no-ops, and the drain of a queue that has no worker of its own is the loop that its
user would write: take, run the command, acknowledge.
"""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

COMMAND = ["/bin/true"]
JOB = json.dumps({"command": COMMAND})


class Floor:
    """What every durable file queue must do at least: write, fsync, rename, fsync(dir)."""

    def __init__(self, root: str) -> None:
        self.root, self.number = root, 0
        for name in ("tmp", "pending"):
            os.makedirs(os.path.join(root, name), exist_ok=True)

    def put(self) -> None:
        self.number += 1
        staged = f"{self.root}/tmp/{self.number}"
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, JOB.encode())
        os.fsync(fd)
        os.close(fd)
        os.rename(staged, f"{self.root}/pending/{self.number}.json")
        fd = os.open(f"{self.root}/pending", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)


class Files(Floor):
    """A job's files alone: what the protocol creates, renames and removes; no fsync, no thought."""

    shared = True
    RECORD = json.dumps(
        {"command": COMMAND, "history": [{"attempt": 1, "outcome": "ok"}]}, indent=2
    )

    def __init__(self, root: str) -> None:
        super().__init__(root)
        for name in ("processing", "done", "logs"):
            os.mkdir(f"{root}/{name}")
        self.left: Iterator[int] = iter(())

    def put(self) -> None:
        self.number += 1
        self._write(f"{self.root}/pending/{self.number}.json", JOB)
        self.left = iter(range(1, self.number + 1))

    def take(self) -> Any:
        if (job := next(self.left, None)) is not None:
            os.rename(f"{self.root}/pending/{job}.json", f"{self.root}/processing/{job}.json")
            self._write(f"{self.root}/tmp/{job}.run", JOB)
            os.rename(f"{self.root}/tmp/{job}.run", f"{self.root}/processing/{job}.run")
            self._write(f"{self.root}/logs/{job}.log", "")
        return job

    def done(self, job: Any) -> None:
        self._write(f"{self.root}/tmp/{job}", self.RECORD, forced=True)
        os.rename(f"{self.root}/tmp/{job}", f"{self.root}/processing/{job}.json")
        os.rename(f"{self.root}/processing/{job}.json", f"{self.root}/done/{job}.json")
        os.unlink(f"{self.root}/processing/{job}.run")

    def _write(self, path: str, text: str, *, forced: bool = False) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, text.encode())
        if forced:
            self._force(fd)
        os.close(fd)

    def _force(self, fd: int) -> None: ...


class FilesCommitted(Files):
    """The same with the least that makes it last on a journal: one commit before each start."""

    def take(self) -> Any:
        if (job := super().take()) is not None:
            fd = os.open(f"{self.root}/processing", os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
        return job

    def _force(self, fd: int) -> None:
        whole = (ctypes.c_int64(0), ctypes.c_int64(0))
        ctypes.CDLL(None).sync_file_range(fd, *whole, 7)  # wait, write, wait


class Queuectl:
    def __init__(self, root: str) -> None:
        from queuectl import Queue

        self.queue = Queue(root)

    def put(self) -> None:
        self.queue.enqueue(COMMAND)


class SqliteTable:
    """A table as a careful person would write it: WAL, synchronous=FULL, UPDATE ... RETURNING."""

    def __init__(self, root: str) -> None:
        self.db = sqlite3.connect(f"{root}/queue.db", timeout=60, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, job TEXT, "
            "state TEXT DEFAULT 'pending', exit_code INTEGER, started REAL, finished REAL)"
        )
        self.db.execute("CREATE INDEX IF NOT EXISTS waiting ON jobs (state, id)")

    def put(self) -> None:
        self.db.execute("INSERT INTO jobs (job) VALUES (?)", (JOB,))

    def put_many(self, jobs: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO jobs (job) VALUES (?)", ((JOB,) for _ in range(jobs)))
        self.db.execute("COMMIT")

    def take(self) -> Any:
        return self.db.execute(
            "UPDATE jobs SET state = 'running', started = ? WHERE id = "
            "(SELECT id FROM jobs WHERE state = 'pending' ORDER BY id LIMIT 1) RETURNING id",
            (time.time(),),
        ).fetchone()

    def done(self, row: Any) -> None:
        self.db.execute(
            "UPDATE jobs SET state = 'done', exit_code = 0, finished = ? WHERE id = ?",
            (time.time(), row[0]),
        )


class Dirq:
    def __init__(self, root: str) -> None:
        from dirq.QueueSimple import QueueSimple  # type: ignore[import-not-found,unused-ignore]  # a peer that may be missing

        self.queue = QueueSimple(f"{root}/dirq")

    def put(self) -> None:
        self.queue.add(JOB)

    def take(self) -> Any:
        for name in self.queue:
            if self.queue.lock(name):
                self.queue.get(name)
                return name
        return None

    def done(self, name: Any) -> None:
        self.queue.remove(name)


class LiteQueue:
    def __init__(self, root: str) -> None:
        from litequeue import LiteQueue as Queue  # type: ignore[import-not-found,unused-ignore]  # a peer that may be missing

        self.queue = Queue(f"{root}/lite.db", timeout=60)

    def put(self) -> None:
        self.queue.put(JOB)

    def take(self) -> Any:
        return self.queue.pop()

    def done(self, message: Any) -> None:
        self.queue.done(message.message_id)


class PersistFile:
    shared = True

    def __init__(self, root: str) -> None:
        import persistqueue  # type: ignore[import-not-found,unused-ignore]  # a peer that may be missing

        self.empty = persistqueue.Empty
        self.queue = persistqueue.Queue(f"{root}/persist", tempdir=root)

    def put(self) -> None:
        self.queue.put(JOB)

    def take(self) -> Any:
        try:
            return self.queue.get(block=False)
        except self.empty:
            return None

    def done(self, _: Any) -> None:
        self.queue.task_done()


class PersistSqlite(PersistFile):
    def __init__(self, root: str) -> None:
        import persistqueue  # type: ignore[import-not-found,unused-ignore]  # a peer that may be missing

        self.empty = persistqueue.Empty
        self.queue = persistqueue.SQLiteAckQueue(
            f"{root}/persist", multithreading=True, auto_commit=True
        )

    def done(self, item: Any) -> None:
        self.queue.ack(item)


class Huey:
    """huey with its own consumer, in threads; `kind` names the storage."""

    def __init__(self, root: str, kind: str) -> None:
        import logging

        import huey  # type: ignore[import-not-found,unused-ignore]  # a peer that may be missing

        logging.getLogger("huey").addHandler(logging.NullHandler())
        logging.getLogger("huey").propagate = False
        if kind == "file":
            self.huey = huey.FileHuey("bench", path=f"{root}/huey", use_thread_lock=True)
        else:
            self.huey = huey.SqliteHuey("bench", filename=f"{root}/huey.db", timeout=60)
        self.ended = 0
        self.changed = threading.Condition()
        self.task = self.huey.task()(self.run)

    def run(self) -> None:
        subprocess.Popen(COMMAND).wait()
        with self.changed:
            self.ended += 1
            self.changed.notify()

    def put(self) -> None:
        self.task()

    def drain(self, jobs: int, slots: int) -> float:
        consumer = self.huey.create_consumer(workers=slots, worker_type="thread", periodic=False)
        start = time.perf_counter()
        consumer.start()
        with self.changed:
            self.changed.wait_for(lambda: self.ended >= jobs)
        seconds = time.perf_counter() - start
        consumer.stop(graceful=True)
        return seconds


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "floor": Floor,
    "the files alone": Files,
    "the files, committed": FilesCommitted,
    "queuectl": Queuectl,
    "SQLite table": SqliteTable,
    "dirq": Dirq,
    "litequeue": LiteQueue,
    "persist-queue, file": PersistFile,
    "persist-queue, SQLite": PersistSqlite,
    "huey, file": lambda root: Huey(root, "file"),
    "huey, SQLite": lambda root: Huey(root, "sqlite"),
}


def enqueue(name: str, root: str, jobs: int) -> float:
    queue = CONTENDERS[name](root)
    start = time.perf_counter()
    for _ in range(jobs):
        queue.put()
    return time.perf_counter() - start


def bulk(name: str, root: str, jobs: int) -> float:
    queue = CONTENDERS[name](root)
    if not hasattr(queue, "put_many"):
        return enqueue(name, root, jobs)
    start = time.perf_counter()
    queue.put_many(jobs)
    return time.perf_counter() - start


def in_threads(slots: int, work: Callable[[], None]) -> float:
    threads = [threading.Thread(target=work) for _ in range(slots)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def spawn(jobs: int, slots: int) -> float:
    """The floor of a drain: start the command and wait for it, and nothing else."""
    left = iter(range(jobs))  # next() is atomic under the GIL

    def work() -> None:
        while next(left, None) is not None:
            subprocess.Popen(COMMAND).wait()

    return in_threads(slots, work)


def drain(name: str, root: str, jobs: int, slots: int) -> float:
    if name == "floor":
        return spawn(jobs, slots)
    queue = CONTENDERS[name](root)
    for _ in range(jobs):
        queue.put()
    if isinstance(queue, Huey):
        return queue.drain(jobs, slots)

    def work() -> None:
        mine = queue if hasattr(queue, "shared") else CONTENDERS[name](root)
        while (job := mine.take()) is not None:
            subprocess.Popen(COMMAND).wait()
            mine.done(job)

    return in_threads(slots, work)


def main(name: str, operation: str, root: str, jobs: str, slots: str = "1") -> None:
    os.makedirs(root, exist_ok=True)
    if operation == "drain":
        seconds = drain(name, root, int(jobs), int(slots))
    else:
        seconds = {"enqueue": enqueue, "bulk": bulk}[operation](name, root, int(jobs))
    print(json.dumps({"jobs": int(jobs), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])

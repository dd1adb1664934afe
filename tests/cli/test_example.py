"""The shipped example: what it is, and what `sh spool-example/run` makes of it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import PROGRAM

from queuectl import Queue
from queuectl.record.job import decode

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "spool-example"
JOB_FILES = sorted(
    path
    for directory in ("pending", "done", "dead", "data/next")
    for path in (EXAMPLE / directory).glob("*.json")
)
SECONDS = 60

COMPLETED = {
    "checksums",
    "compress-access-log",
    "count-sonnets",
    "merge-sonnets",
    "report-2026-q3",
    "top-pages",
    "top-words",
    "update-catalog",
}
DEAD = {"import-october", "verify-download"}
PENDING = {"archive-2099"}


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """All there is below a directory, with its mode and content."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


def ids(root: Path, directory: str) -> set[str]:
    return {path.stem for path in (root / directory).glob("*.json")}


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def script(
    queuectl: Path | None,
    *arguments: object,
    path: Path = EXAMPLE / "run",
    first_in_path: Path = PROGRAM.parent,
) -> Any:
    """Run the script with one queuectl or, for None, with that of the project's .venv."""
    chosen = {} if queuectl is None else {"QUEUECTL": str(queuectl)}
    return subprocess.run(
        ["sh", str(path), *map(str, arguments)],
        cwd="/",
        env={"PATH": f"{first_in_path}:{os.environ['PATH']}", "HOME": "/nonexistent", **chosen},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy that the script has made and drained, and what it printed; no test changes it."""
    copy = tmp_path_factory.mktemp("example") / "a copy"
    before = tree(EXAMPLE)
    result = script(PROGRAM, copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert tree(EXAMPLE) == before, "the script has changed the example itself"
    return copy, result.stdout


@pytest.fixture
def copy(ran: tuple[Path, str]) -> Path:
    return ran[0]


@pytest.fixture
def said(ran: tuple[Path, str]) -> str:
    return ran[1]


# -- as it is shipped --------------------------------------------------------------------------


@pytest.mark.parametrize("path", JOB_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_job_file_is_valid_and_written_as_queuectl_writes_it(path: Path) -> None:
    data = path.read_bytes()
    job = decode(data)
    assert job.encode() == data
    assert job.id in (path.stem, None)


def test_the_example_shows_every_field_a_submitter_may_write_but_cwd() -> None:
    jobs = {path.stem: decode(path.read_bytes()) for path in JOB_FILES}
    assert jobs["checksums"].priority > 0 > jobs["top-pages"].priority
    assert isinstance(jobs["report-2026-q3"].command, list)
    assert jobs["top-pages"].env
    assert jobs["compress-access-log"].timeout
    assert jobs["archive-2099"].run_at == "2099-01-01T00:00:00Z"
    assert jobs["update-catalog"].max_retries == 3
    assert not any(job.cwd for job in jobs.values()), "a copy may be anywhere"


def test_what_is_shipped_as_finished_has_its_history_and_logs() -> None:
    done, dead = (
        decode((EXAMPLE / "done/count-sonnets.json").read_bytes()),
        decode((EXAMPLE / "dead/import-october.json").read_bytes()),
    )
    assert [entry.outcome for entry in done.history] == ["ok"]
    assert [entry.exit_code for entry in dead.history] == [127, 127, 127]
    logs = {entry.log for job in (done, dead) for entry in job.history}
    assert logs == {f"logs/{path.name}" for path in (EXAMPLE / "logs").iterdir()}
    words = {
        path.name: len(path.read_text().split()) for path in (EXAMPLE / "data/sonnets").iterdir()
    }
    expected = [f"{count} sonnets/{name}" for name, count in sorted(words.items())]
    expected.append(f"{sum(words.values())} total")
    for output in ("logs/count-sonnets.1.log", "data/out/sonnet-words.txt"):
        lines = (EXAMPLE / output).read_text().splitlines()
        assert [line.strip() for line in lines] == expected


def test_the_example_is_small_and_every_directory_it_needs_has_a_file_for_git_to_keep() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    for directory in ("pending", "done", "dead", "logs", "data", "data/out"):
        assert any(path.is_file() for path in (EXAMPLE / directory).iterdir()), directory


def test_the_readme_of_the_example_names_every_job() -> None:
    readme = (EXAMPLE / "README.md").read_text()
    named = set(re.findall(r"\| `([a-z0-9-]+)` \|", readme))
    assert named == COMPLETED | DEAD | PENDING


def test_shellcheck_has_nothing_to_say_about_the_script() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run(
        ["shellcheck", str(EXAMPLE / "run")], capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, result.stdout
    assert os.access(EXAMPLE / "run", os.X_OK)


# -- when it has run ---------------------------------------------------------------------------


def test_every_job_ends_where_it_should(copy: Path) -> None:
    assert ids(copy, "done") == COMPLETED
    assert ids(copy, "dead") == DEAD
    assert ids(copy, "pending") == PENDING
    assert ids(copy, "failed") == set()
    assert not any((copy / "processing").rglob("*.json"))
    counts = Queue(copy).status().jobs
    assert counts == {"pending": 1, "processing": 0, "completed": 8, "failed": 0, "dead": 2}


def test_the_copy_is_private_and_has_all_but_the_script(copy: Path) -> None:
    assert stat.S_IMODE((copy / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((copy / "done/checksums.json").stat().st_mode) == 0o600
    assert (copy / "README.md").exists()
    assert not (copy / "run").exists()


def test_the_retried_job_fails_once_and_completes_on_its_second_attempt(copy: Path) -> None:
    job = record(copy / "done/update-catalog.json")
    assert job["attempts"] == 2
    assert [entry["outcome"] for entry in job["history"]] == ["failed", "ok"]
    assert job["history"][0]["exit_code"] == 75
    assert "lock removed" in (copy / "logs/update-catalog.1.log").read_text()
    assert not (copy / "data/catalog.lock").exists()
    assert "56  460 total" in (copy / "data/out/catalog.txt").read_text()


def test_the_damaged_download_is_dead_for_a_reason_that_its_log_tells(copy: Path) -> None:
    job = record(copy / "dead/verify-download.json")
    assert [entry["exit_code"] for entry in job["history"]] == [1, 1]
    assert "sonnets.txt: FAILED" in (copy / "logs/verify-download.2.log").read_text()


def test_the_report_adds_up_to_what_the_orders_say(copy: Path) -> None:
    cents: Counter[tuple[str, str]] = Counter()
    with open(EXAMPLE / "data/orders.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["order", "date", "region", "product", "quantity", "unit_price"]
    for _, date, region, _, quantity, price in rows:
        euros, hundredths = price.split(".")
        cents[region, date[:7]] += int(quantity) * (int(euros) * 100 + int(hundredths))
    regions, months = (sorted({key[part] for key in cents}) for part in (0, 1))

    lines = [["region", *months, "total"]]
    for region in [*regions, "all"]:
        mine = regions if region == "all" else [region]
        amounts = [sum(cents[name, month] for name in mine) for month in months]
        amounts.append(sum(amounts))
        lines.append([region, *(f"{amount // 100}.{amount % 100:02}" for amount in amounts)])

    report = (copy / "data/out/report-2026-q3.txt").read_text()
    assert [line.split() for line in report.splitlines()] == lines


def test_the_checksums_are_those_of_the_files(copy: Path) -> None:
    lines = (copy / "data/out/SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    names = {
        "access.log",
        "orders.csv",
        *(f"sonnets/{n}.txt" for n in ("018", "029", "116", "130")),
    }
    assert sums == {
        name: hashlib.sha256((EXAMPLE / "data" / name).read_bytes()).hexdigest() for name in names
    }


def test_the_compressed_log_is_the_original_which_stays(copy: Path) -> None:
    original = (EXAMPLE / "data/access.log").read_bytes()
    packed = (copy / "data/out/access.log.gz").read_bytes()
    assert gzip.decompress(packed) == original == (copy / "data/access.log").read_bytes()
    assert len(packed) < len(original) / 3


def test_the_busiest_pages_are_in_the_log_as_many_as_the_environment_says(copy: Path) -> None:
    pages = Counter(
        line.split()[6] for line in (EXAMPLE / "data/access.log").read_text().splitlines()
    )
    lines = (copy / "logs/top-pages.1.log").read_text().splitlines()
    found = [(page, int(count)) for count, page in map(str.split, lines)]
    assert [count for _, count in found] == [count for _, count in pages.most_common(5)]
    assert all(pages[page] == count for page, count in found)


def test_one_job_enqueues_the_next_by_moving_a_file_into_pending(copy: Path) -> None:
    job = record(copy / "done/top-words.json")
    assert next(iter(job.items())) == ("id", "top-words")
    texts = (path.read_text() for path in sorted((EXAMPLE / "data/sonnets").iterdir()))
    words = Counter(re.findall("[a-z']+", "".join(texts).lower()))
    expected = sorted((-count, word) for word, count in words.items())[:10]
    lines = (copy / "logs/top-words.1.log").read_text().splitlines()
    assert [(-int(count), word) for count, word in map(str.split, lines)] == expected


def test_what_queuectl_does_not_know_is_kept(copy: Path) -> None:
    for submitted, finished in (
        ("pending/report-2026-q3.json", "done/report-2026-q3.json"),
        ("pending/top-pages.json", "done/top-pages.json"),
    ):
        before, after = record(EXAMPLE / submitted), record(copy / finished)
        assert before == {key: after[key] for key in before}
    assert record(copy / "done/report-2026-q3.json")["tags"] == ["report", "quarterly"]


def test_what_had_ended_before_and_what_is_not_due_stay_as_they_are(copy: Path) -> None:
    for name in (
        "done/count-sonnets.json",
        "dead/import-october.json",
        "pending/archive-2099.json",
        "queue.toml",
    ):
        assert (copy / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_the_script_tells_where_the_copy_is_and_what_it_did(copy: Path, said: str) -> None:
    assert f"The example is copied to {copy}" in said
    assert (copy / "data/out/report-2026-q3.txt").read_text() in said
    assert "8 jobs are completed, 2 are dead, 1 waits for the year 2099" in said
    assert f'rm -r "{copy}"' in said


def test_the_repair_that_the_script_proposes_brings_the_dead_job_back(
    copy: Path, said: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    shutil.copytree(copy, spool)
    proposed = said.partition('cd "$QUEUECTL_SPOOL"\n')[2].partition("To remove the copy")[0]
    result = subprocess.run(
        ["sh", "-eu", "-c", proposed],
        cwd=spool,
        env={
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "QUEUECTL_SPOOL": str(spool),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stderr
    assert ids(spool, "dead") == DEAD - {"verify-download"}
    job = record(spool / "done/verify-download.json")
    assert [entry["outcome"] for entry in job["history"]] == ["failed", "failed", "ok"]


def test_the_first_run_installs_the_project_and_the_second_finds_it_installed(
    tmp_path: Path,
) -> None:
    project, tools, asked = tmp_path / "a project", tmp_path / "bin", tmp_path / "asked"
    shutil.copytree(EXAMPLE, project / "spool-example")
    (project / "pyproject.toml").touch()
    tools.mkdir()
    python = tools / "python3"  # does what it is asked for without a network
    python.write_text(
        "#!/bin/sh\n"
        f'case "$*" in -m*) echo "$*" >>"{asked}" ;; esac\n'
        'case "$*" in\n'
        f'"-m venv --clear "*) mkdir -p "$4/bin" && ln -s "{python}" "$4/bin/python" ;;\n'
        f'"-m pip install "*) ln -s "{PROGRAM}" "$(dirname "$0")/queuectl" ;;\n'
        f'*) exec "{sys.executable}" "$@" ;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    for copy in ("first", "second"):
        result = script(
            None,
            tmp_path / copy,
            path=project / "spool-example/run",
            first_in_path=tools,
        )
        assert result.returncode == 0, result.stderr
        assert ("Installing queuectl" in result.stdout) is (copy == "first")
        assert ids(tmp_path / copy, "done") == COMPLETED
    assert asked.read_text().splitlines() == [
        f"-m venv --clear {project}/.venv",
        f"-m pip install -q --disable-pip-version-check -e {project}",
    ]


# -- when it cannot ----------------------------------------------------------------------------


def test_a_directory_that_is_not_empty_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    before = tree(tmp_path)
    result = script(PROGRAM, tmp_path)
    assert result.returncode == 1
    assert "is not empty: choose a new directory" in result.stderr
    assert tree(tmp_path) == before


def test_a_drain_that_leaves_work_undone_is_an_error_that_names_the_jobs(tmp_path: Path) -> None:
    lazy = tmp_path / "queuectl"
    lazy.write_text("#!/bin/sh\nexit 0\n")
    lazy.chmod(0o755)
    result = script(lazy, tmp_path / "copy")
    assert result.returncode == 1
    for job_id in (COMPLETED | DEAD) - {"count-sonnets", "import-october"}:
        assert f"{job_id} is not in " in result.stderr
    assert "results are not as expected" in result.stderr
    assert "As expected" not in result.stdout


@pytest.mark.parametrize("which", [1, 2])
def test_a_worker_that_fails_is_an_error(which: int, tmp_path: Path) -> None:
    failing = tmp_path / "queuectl"
    failing.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = worker ]; then\n'
        f'    mkdir "{tmp_path}/seen" 2>/dev/null && number=1 || number=2\n'
        f"    [ $number -ne {which} ] || exit 3\n"
        "fi\n"
        f'exec "{PROGRAM}" "$@"\n'
    )
    failing.chmod(0o755)
    result = script(failing, tmp_path / "copy")
    assert result.returncode == 1
    assert "a worker failed" in result.stderr


def test_a_script_without_its_project_says_so_and_makes_nothing(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "spool-example")
    before = tree(tmp_path)
    result = script(None, tmp_path / "copy", path=tmp_path / "spool-example/run")
    assert result.returncode == 1
    assert "is not the project queuectl" in result.stderr
    assert tree(tmp_path) == before

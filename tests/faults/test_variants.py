"""The tests can fail: each deliberate mistake in the core fails the test that is named for it.

Each test runs in a process of its own, on a copy of the package with this one mistake. It must fail
by what it asserts: a TypeError, or an import that fails, shows only that the table is wrong.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.harness.wrong_variants import VARIANTS, Variant

PROJECT = Path(__file__).resolve().parents[2]
SECONDS = 60
BY_CHANCE = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "UnboundLocalError",
             "AttributeError", "TypeError", "Failed: Timeout")  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="some of the tests need Linux")


def _copy(directory: Path) -> Path:
    """Copy the package, and its compiled files: they are as good where nothing was changed."""
    return Path(shutil.copytree(PROJECT / "queuectl", directory / "queuectl"))


def _python(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the package that is in a directory; -P leaves out the working directory."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(directory),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # what the tests do not need takes half of the time
        "COLUMNS": "400",
    }
    return subprocess.run(
        [sys.executable, "-P", *words],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _run(directory: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests, up to the first that fails, with the package that is in a directory."""
    options = ["-q", "-x", "-rf", "--tb=line", "-p", "no:cacheprovider", "-p", "pytest_timeout",
               f"--timeout={SECONDS}", f"--basetemp={directory}/tmp"]  # fmt: skip
    return _python(directory, "-m", "pytest", *options, *(f"tests/{test}" for test in tests))


def _failures(said: str) -> list[tuple[str, str]]:
    """Return the tests that pytest's summary names as failed, each with its reason."""
    return re.findall(r"^FAILED tests/(\S+?(?:\[.*?\])?)(?: - (.*))?$", said, re.MULTILINE)


def test_every_variant_has_a_name_of_its_own_and_they_are_of_the_whole_core() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(names) == len({*names})
    assert {variant.module.split("/")[0] for variant in VARIANTS} == {
        "record", "disk", "process", "spool", "worker",
    }  # fmt: skip


def test_without_a_mistake_the_named_tests_pass(tmp_path: Path) -> None:
    copy = _copy(tmp_path)
    found = _python(tmp_path, "-c", "import queuectl; print(queuectl.__file__)").stdout
    assert found.strip() == str(copy / "__init__.py"), "the copy is not what is tested"

    done = _run(tmp_path, *dict.fromkeys(variant.test for variant in VARIANTS))

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_mistake_fails_the_test_that_is_named_for_it(variant: Variant, tmp_path: Path) -> None:
    module = _copy(tmp_path) / variant.module
    text = module.read_text()
    assert text.count(variant.right) == 1, (
        f"queuectl/{variant.module} has {variant.right!r} {text.count(variant.right)} times, not "
        "once: the code has changed, so update tests/faults/harness/wrong_variants.py"
    )
    module.write_text(text.replace(variant.right, variant.wrong))

    done = _run(tmp_path, variant.test)

    assert done.returncode != 4, f"update the table, there is no such test: {done.stderr}"
    failures = _failures(done.stdout)
    assert (done.returncode, len(failures)) == (1, 1), f"no test failed: {done.stdout}"
    test, reason = failures[0]
    assert test.startswith(variant.test)
    assert not reason.startswith(BY_CHANCE), f"it failed, but not by an assertion: {reason}"


@pytest.mark.parametrize(
    ("said", "failures"),
    [
        ("1 passed in 0.1s", []),
        ("FAILED tests/a.py::test_b", [("a.py::test_b", "")]),
        ("FAILED tests/a.py::test_b - assert 1 - 1", [("a.py::test_b", "assert 1 - 1")]),
        ("FAILED tests/a.py::test_b[c d] - assert 1", [("a.py::test_b[c d]", "assert 1")]),
    ],
)
def test_the_summary_of_a_run_is_read(said: str, failures: list[tuple[str, str]]) -> None:
    assert _failures(f"x\n{said}\nx") == failures

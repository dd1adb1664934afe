"""The house keeps its floors: who imports whom, and who alone touches what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import queuectl

PACKAGE = Path(queuectl.__file__).parent
CORE = [
    *("errors", "clock", "job", "retry", "turn", "filesystem", "fsio", "fsread", "process"),
    *(
        "layout",
        "config",
        "lookup",
        "delivery",
        "spool",
        "markers",
        "recovery",
        "check",
        "report",
        "tail",
    ),
    *("browse", "backlog", "wake", "child", "runner", "queue", "tally", "trouble", "scout"),
    *("hooks", "intake", "slots", "retention", "housekeeping", "worker"),
]
"""From the ground up: a module may import those before it, and no other of ours."""
FACES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem not in (*CORE, "__init__")
)
"""The top floor: these may import all of the core, and each other."""
DIRECTORY_NAMES = {"pending", "processing", "failed", "done", "dead", "tmp", "logs", "workers"}
MOVERS = {"rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "sync"}


def _tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())


def _imports(module: str) -> Iterator[str]:
    """Name every module that is imported, wherever in the file, as `a.b`."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            if node.module == "queuectl":
                yield from (f"queuectl.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def _ours(module: str) -> set[str]:
    parts = (name.split(".") for name in _imports(module))
    return {name[1] for name in parts if name[0] == "queuectl" and len(name) > 1}


def _calls(module: str) -> Iterator[tuple[str, str]]:
    """Name every `a.b` and every `from a import b`, as (a, b)."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_every_module_has_its_floor() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} >= set(CORE)
    assert not [name for name in FACES if not _is_face(name)]


def _is_face(name: str) -> bool:
    return name.split(".")[0] in ("cli", "web", "metrics", "health", "__main__")


@pytest.mark.parametrize("module", CORE)
def test_imports_only_go_down(module: str) -> None:
    assert _ours(module) <= set(CORE[: CORE.index(module)])


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_nothing_of_the_faces(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(module)}
    assert not roots & {"typer", "click", "rich", "starlette", "uvicorn", "prometheus_client"}


@pytest.mark.parametrize("module", ["job", "retry"])
def test_the_record_and_the_retry_decision_are_pure(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(module)}
    assert not roots & {"os", "io", "time", "random", "pathlib", "datetime", "socket", "shutil"}
    assert not {"now", "monotonic"} & {name for _, name in _calls(module)}


@pytest.mark.parametrize("module", [*(name for name in CORE if name != "clock"), *FACES])
def test_only_the_clock_reads_the_time(module: str) -> None:
    read = {("time", "time"), ("time", "monotonic"), ("datetime", "now"), ("time", "time_ns")}
    assert not read & set(_calls(module))


@pytest.mark.parametrize("module", [*(name for name in CORE if name != "fsio"), *FACES])
def test_only_fsio_renames_links_and_syncs(module: str) -> None:
    used = {(owner, name) for owner, name in _calls(module) if owner in ("os", "shutil")}
    assert not used & ({("os", name) for name in MOVERS} | {("shutil", "move")})
    assert "renameat2" not in (PACKAGE / f"{module.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize("module", [*(name for name in CORE if name != "layout"), *FACES])
def test_only_layout_knows_the_directories_by_name(module: str) -> None:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("join", "joinpath"):
                words = {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
                assert not words & DIRECTORY_NAMES, f"line {node.lineno}"
        elif isinstance(node, ast.JoinedStr):
            words = {part.value for part in node.values if isinstance(part, ast.Constant)}
            path_like = {f"{name}/" for name in DIRECTORY_NAMES}
            assert not any(str(word).endswith(tuple(path_like)) for word in words), (
                f"line {node.lineno}"
            )
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right.value if isinstance(node.right, ast.Constant) else None
            assert right not in DIRECTORY_NAMES, f"line {node.lineno}"


@pytest.mark.parametrize("module", [*(name for name in CORE if name != "layout")])
def test_only_layout_joins_paths_to_the_root(module: str) -> None:
    for node in ast.walk(_tree(module)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "join"
            and ast.unparse(node.func.value) == "os.path"
        ):
            joined = ast.unparse(node)
            assert "layout" not in joined.replace("layout.MARKER", ""), f"{joined}"

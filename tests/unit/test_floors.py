"""The house keeps its floors: who imports whom, and who alone touches what."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from unit.floors import FLOORS, MODULES, floor_of, height, imports, ours, tree

FACES = ("web", "cli")
CORE = [name for name in MODULES if name and floor_of(name) not in FACES]
EXTRAS = {"typer", "click", "rich", "starlette", "uvicorn", "jinja2", "prometheus_client"}
DIRECTORY_NAMES = {"pending", "processing", "failed", "done", "dead", "tmp", "logs", "workers"}
MOVERS = {"rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "sync"}


def _calls(module: str) -> Iterator[tuple[str, str]]:
    """Name every `a.b` and every `from a import b`, as (a, b)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_every_module_is_on_a_floor() -> None:
    assert {floor_of(name) for name in MODULES} == {"", *FLOORS}


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_only_go_down(module: str) -> None:
    below = {*FLOORS[: FLOORS.index(floor_of(module))], floor_of(module)}
    assert {floor_of(name) for name in ours(module)} <= below


@pytest.mark.parametrize("module", MODULES)
def test_no_imports_go_round_in_a_circle(module: str) -> None:
    assert height(module) >= 0


@pytest.mark.parametrize("module", [name for name in CORE if name != "view.metrics"])
def test_the_core_needs_nothing_of_the_faces(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & EXTRAS


@pytest.mark.parametrize("module", [name for name in MODULES if floor_of(name) == "record"])
def test_records_and_decisions_are_pure(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(module)}
    assert not roots & {"os", "io", "time", "random", "pathlib", "datetime", "socket", "shutil"}
    assert not {"now", "monotonic"} & {name for _, name in _calls(module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "clock"])
def test_only_the_clock_reads_the_time(module: str) -> None:
    read = {("time", "time"), ("time", "monotonic"), ("datetime", "now"), ("time", "time_ns")}
    assert not read & set(_calls(module))


@pytest.mark.parametrize("module", [name for name in MODULES if floor_of(name) != "disk"])
def test_only_the_disk_renames_links_and_syncs(module: str) -> None:
    used = {(owner, name) for owner, name in _calls(module) if owner in ("os", "shutil")}
    assert not used & ({("os", name) for name in MOVERS} | {("shutil", "move")})
    assert "renameat2" not in MODULES[module].read_text()


@pytest.mark.parametrize("module", [name for name in MODULES if name != "spool.layout"])
def test_only_the_layout_knows_the_directories_by_name(module: str) -> None:
    for node in ast.walk(tree(module)):
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


@pytest.mark.parametrize("module", [name for name in MODULES if name != "spool.layout"])
def test_only_the_layout_joins_paths_to_the_root(module: str) -> None:
    for node in ast.walk(tree(module)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "join"
            and ast.unparse(node.func.value) == "os.path"
        ):
            assert "layout" not in ast.unparse(node), ast.unparse(node)


@pytest.mark.parametrize(
    "module", [name for name in MODULES if floor_of(name) in FACES or name == "view.metrics"]
)
def test_faces_touch_no_spool_and_no_path(module: str) -> None:
    attributes = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)]
    assert not {node.attr for node in attributes} & {"layout", "reader", "claims"}
    of_queues = [node for node in attributes if ast.unparse(node.value).endswith("queue")]
    assert "spool" not in {node.attr for node in of_queues}
    joined = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    assert "os.path.join" not in {ast.unparse(call.func) for call in joined}
    assert not {floor_of(name) for name in ours(module)} & {"spool", "process"}
    if floor_of(module) in FACES:
        assert "disk" not in {floor_of(name) for name in ours(module)}

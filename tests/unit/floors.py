"""The floors of the house, read from pyproject.toml and from the imports of the code."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "queuectl"
FLOORS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["queuectl"][
    "floors"
]


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: dict[str, Path] = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
"""Every module by its name below `queuectl`; the package's own name is ""."""


def floor_of(module: str) -> str:
    """Return the floor that a module is on."""
    return module.partition(".")[0]


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imports(module: str) -> Iterator[str]:
    """Name every module that is imported, wherever in the file, as `a.b`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}".removeprefix("queuectl.")
                yield f"queuectl.{inner}" if inner in MODULES else source


def ours(module: str) -> set[str]:
    """Name the modules of queuectl that a module imports."""
    found = {name.removeprefix("queuectl.") for name in imports(module) if "queuectl." in name}
    return found | {"" for name in imports(module) if name == "queuectl"}


def height(module: str) -> int:
    """Return how many imports lie, at most, between a module and the ground."""
    return _heights()[module]


@functools.cache
def _heights() -> dict[str, int]:
    found: dict[str, int] = {}

    def climb(module: str, path: tuple[str, ...]) -> int:
        assert module not in path, f"a circle: {' -> '.join([*path, module])}"
        if module not in found:
            below = [climb(name, (*path, module)) for name in ours(module) if name in MODULES]
            found[module] = 1 + max(below, default=-1)
        return found[module]

    for module in MODULES:
        climb(module, ())
    return found


def purpose(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(tree(module)) or ""
    return " ".join(text.split("\n\n")[0].split())


def table() -> Iterator[tuple[str, str]]:
    """Yield each floor and its modules with their purposes, from the top down."""
    for floor in reversed(FLOORS):
        inside = [name for name in MODULES if floor_of(name) == floor]
        for name in sorted(inside, key=lambda name: (name != floor, -height(name), name)):
            file = "/".join(name.split(".")) + (".py" if MODULES[name].stem != "__init__" else "/")
            yield file, purpose(name)

"""The documentation and the code say the same; what can be made from the code is.

After a change of the command line, the settings or the job file, rewrite the made parts with
`QUEUECTL_REWRITE_DOCS=1 pytest tests/unit/test_docs.py`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from unit import floors

import queuectl
from queuectl import errors
from queuectl.cli.app import app as root_app
from queuectl.record import job, running
from queuectl.record.settings import describe

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(DOCS.rglob("*.md"))
LINKED = [*PAGES, ROOT / "README.md"]
REWRITE = bool(os.environ.get("QUEUECTL_REWRITE_DOCS"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMPLETION = {"install_completion", "show_completion"}  # typer's own


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


# -- what is made from the code --------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and group, in the order of the help, with its full name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for child, sub in children(command).items():
            yield from walk(f"{name} {child}", sub)

    return walk("queuectl", typer.main.get_command(root_app))


def children(command: Any) -> dict[str, Any]:
    """The commands of a group, which may be imported only now."""
    if not hasattr(command, "list_commands"):
        return {}
    context = typer.Context(command)
    return {n: command.get_command(context, n) for n in command.list_commands(context)}


def parameters(command: Any, kind: str) -> list[Any]:
    found = [p for p in command.params if p.param_type_name == kind]
    return [p for p in found if p.name not in COMPLETION]


def option_names(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in sorted(option.opts, key=len, reverse=True))


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def table(header: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    count = header.count("|") + 1
    lines = [f"| {header} |", "|" + " --- |" * count]
    return ["", *lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)]


def usage(name: str, command: Any) -> str:
    arguments = parameters(command, "argument")
    words = [p.metavar if p.required else f"[{p.metavar}]" for p in arguments]
    if children(command):
        words = ["COMMAND"]
    required = [f"{p.opts[0]} {p.metavar}" for p in parameters(command, "option") if p.required]
    return " ".join([name, *required, "[OPTIONS]", *words])


def command_section(name: str, command: Any) -> list[str]:
    about, _, examples = command.help.partition("\b\nExamples:\n")
    lines = ["", f"## {name}", "", "```text", usage(name, command), "```", "", about.strip()]
    if subs := children(command):
        links = [(f"{name} {child}", sub.help.split("\n\n")[0]) for child, sub in subs.items()]
        rows = [(f"[`{n}`](#{n.replace(' ', '-')})", about) for n, about in links]
        lines += table("command | purpose", rows)
    if arguments := parameters(command, "argument"):
        rows = [(f"`{p.metavar}`", p.help or "") for p in arguments]
        lines += table("argument | meaning", rows)
    if options := parameters(command, "option"):
        rows = [(option_names(p), option_help(p)) for p in options]
        lines += table("option | meaning", rows)
    if examples:
        shown = [line.removeprefix("  ") for line in examples.rstrip().splitlines()]
        shown = [re.sub(r"(\S) {2,}(\S)", r"\1  # \2", line) for line in shown]
        lines += ["", "```sh", *shown, "```"]
    return lines


def option_help(option: Any) -> str:
    text = option.help or ""
    if option.required:
        text += " Required."
    if option.multiple:
        text += " May be given several times."
    shown = not option.is_flag and option.default is not None and "default" not in text
    return text + (f" Default: `{option.default}`." if shown else "")


def made_commands() -> list[str]:
    return [line for name, command in commands() for line in command_section(name, command)]


def made_settings() -> list[str]:
    def default(value: Any) -> str:
        return "none" if value is None else f"`{msgspec.json.encode(value).decode()}`"

    rows = [(f"`{i.name}`", default(i.default), i.meaning, i.allowed) for i in describe().values()]
    return table("setting | default | meaning | allowed", rows)


def type_of(spec: dict[str, Any]) -> str:
    if "anyOf" in spec:
        kinds = [type_of(each) for each in spec["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in sorted(spec["enum"]))
    if spec.get("type") == "array":
        inner = spec.get("items", {})
        return "array of attempts" if "$ref" in inner else f"array of {type_of(inner)}s"
    if spec.get("type") == "object":
        return "object of strings"
    kind = "timestamp" if spec.get("format") == "date-time" else str(spec.get("type"))
    for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">")):
        if key in spec and abs(spec[key]) < 2**53:
            kind += f" {sign} {spec[key]}"
    return kind


def made_fields(properties: dict[str, Any], *, writer: bool) -> list[str]:
    rows = []
    for name, spec in properties.items():
        row: tuple[str, ...] = (f"`{name}`", type_of(spec))
        if writer:
            row += ("submitter" if name in job.SUBMITTER_FIELDS else "queuectl",)
        rows.append((*row, spec["description"]))
    return table("field | type | written by | meaning" if writer else "key | type | meaning", rows)


def exceptions() -> list[type[errors.QueuectlError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [each for each in found if issubclass(each, errors.QueuectlError)]


def made_exceptions() -> list[str]:
    rows = [
        (f"`{each.__name__}`", str(each.exit_code), (each.__doc__ or "").split("\n\n")[0])
        for each in exceptions()
    ]
    return table("exception | exit code | meaning", rows)


def made_floors() -> list[str]:
    return table("module | its one job", [(f"`{file}`", about) for file, about in floors.table()])


MADE: dict[tuple[str, str], Callable[[], list[str]]] = {
    ("explanation/architecture.md", "floors"): made_floors,
    ("reference/cli.md", "commands"): made_commands,
    ("reference/settings.md", "settings"): made_settings,
    ("reference/job-file.md", "fields"): lambda: made_fields(
        job.schema()["properties"], writer=True
    ),
    ("reference/job-file.md", "history"): lambda: made_fields(
        job.schema()["$defs"]["Attempt"]["properties"], writer=False
    ),
    ("reference/exit-codes.md", "exceptions"): made_exceptions,
}


@pytest.mark.parametrize(("page", "part"), MADE, ids=lambda value: value)
def test_the_made_part_of_a_page_is_what_the_code_makes(page: str, part: str) -> None:
    begin, end = f"<!-- made from the code: {part} -->\n", f"\n<!-- end of {part} -->"
    made = "\n".join(MADE[page, part]()) + "\n"
    head, found, rest = (DOCS / page).read_text(encoding="utf-8").partition(begin)
    old, closed, tail = rest.partition(end)
    assert found, f"{page} has no place for {part}"
    assert closed, f"{page} has no end of {part}"
    if REWRITE:
        (DOCS / page).write_text(head + begin + made + end + tail, encoding="utf-8")
        old = made
    assert old == made, "rewrite it: QUEUECTL_REWRITE_DOCS=1 pytest tests/unit/test_docs.py"


def test_the_published_schema_is_the_codes() -> None:
    path = REFERENCE / "job.schema.json"
    made = json.dumps(job.schema(), indent=2) + "\n"
    if REWRITE:
        path.write_text(made, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == made


# -- what the pages must speak of ------------------------------------------------------------


def every_command() -> list[Any]:
    return [pytest.param(name, command, id=name) for name, command in commands()]


@pytest.mark.parametrize(("name", "command"), every_command())
def test_every_command_is_in_the_reference_with_all_its_options(name: str, command: Any) -> None:
    section = re.split(r"^## ", text_of("cli.md"), flags=re.MULTILINE)
    mine = next((part for part in section if part.startswith(name + "\n")), "")
    assert mine
    for option in parameters(command, "option"):
        for spelling in option.opts:
            assert f"`{spelling}" in mine


@pytest.mark.parametrize("name", list(describe()))
def test_every_setting_is_explained_in_a_paragraph_of_its_own(name: str) -> None:
    assert f"\n### {name}\n" in text_of("settings.md")


@pytest.mark.parametrize("name", [*job.FIELDS, *job.Attempt.__struct_fields__])
def test_every_field_of_a_job_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in text_of("job-file.md")


@pytest.mark.parametrize(
    "name", [*running.Run.__struct_fields__, *running.WorkerInfo.__struct_fields__]
)
def test_every_field_of_a_run_or_worker_file_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in text_of("job-file.md")


@pytest.mark.parametrize("error", exceptions(), ids=lambda error: error.__name__)
def test_every_exception_and_its_exit_code_is_in_the_reference(error: type[Any]) -> None:
    assert f"| `{error.__name__}` | {error.exit_code} |" in text_of("exit-codes.md")


@pytest.mark.parametrize("name", [n for n in dir(queuectl.Queue) if not n.startswith("_")])
def test_every_method_of_the_queue_is_in_the_reference(name: str) -> None:
    assert re.search(rf"`(queue\.)?{name}[`(]", text_of("python-api.md"))


@pytest.mark.parametrize("name", queuectl.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in text_of("python-api.md")


def environment_variables() -> set[str]:
    """The variables that the code reads or sets: near os.environ, or ours by their name."""
    found = set()
    for path in (ROOT / "queuectl").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'"([A-Z][A-Z_]+)" (?:not )?in os\.environ', source))
        found |= set(re.findall(r'environ(?:\.\w+\(|\[)"([A-Z][A-Z_]+)"', source))
        strings = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
        found |= {s for s in strings if isinstance(s, str) and re.fullmatch(r"QUEUECTL_[A-Z]+", s)}
    return found


@pytest.mark.parametrize("name", sorted(environment_variables()))
def test_every_environment_variable_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in text_of("environment.md")


# -- what every page must keep ---------------------------------------------------------------


def fences(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for language, body in found if language in languages]


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=page_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(DOCS)) for page in PAGES if page != DOCS / "README.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT)) for page in PAGES]
    assert [page for page in pages if f"({page})" not in readme] == []


@pytest.mark.parametrize("page", LINKED, ids=page_name)
def test_every_json_example_is_json_and_every_job_a_valid_one(page: Path) -> None:
    for body in fences(page, "json"):
        if "command" in json.loads(body):
            job.decode(body.encode())


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_python_example_is_python(page: Path) -> None:
    for body in fences(page, "python"):
        compile(body, page_name(page), "exec")


def own_words(line: str) -> list[str]:
    """The words of an example that are queuectl's: none of a job's command, pipe or comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    ends = [n for n, word in enumerate(words) if word == "--" or set(word) <= set("|&;<>()")]
    return words[: min(ends, default=len(words))]


def assert_it_could_run(line: str) -> None:
    known = dict(commands())
    words = [word for word in own_words(line) if not word.startswith("/")]
    plain = [word for word in words if not word.startswith("-")]
    name = next(n for k in (3, 2, 1) if (n := " ".join(plain[:k])) in known)
    options = {o for n in ("queuectl", name) for p in known[n].params for o in p.opts}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options | {"--help"}, line
    assert name != "queuectl" or given, line


@pytest.mark.parametrize("page", LINKED, ids=page_name)
def test_every_example_names_a_command_that_is_there_and_options_that_it_has(page: Path) -> None:
    for body in fences(page, "console", "sh"):
        for line in re.findall(r"(?:^\$ |^|\| |\$\()(queuectl [a-z-].*)$", body, re.MULTILINE):
            assert_it_could_run(line)


@pytest.mark.parametrize(
    "unit", sorted((ROOT / "queuectl/cli/units").glob("*.service")), ids=page_name
)
def test_every_unit_for_systemd_starts_a_command_that_is_there(unit: Path) -> None:
    found = re.search(r"^ExecStart=\S*/(queuectl .*)$", unit.read_text(), re.MULTILINE)
    assert found
    assert_it_could_run(found[1])

"""Texts that users run: ready-made cells, commands in hints, snippets in help, README and docs."""

from __future__ import annotations

import ast
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from IPython.core.inputtransformer2 import TransformerManager

import conduit_nb
from conduit_nb.command_line import PROGRAMS, Command, Place, flags_of
from conduit_nb.commands import Commands, help_text, names, program
from conduit_nb.errors import ConduitError
from conduit_nb.models.embedded import EMBEDDED_MODEL_ID
from conduit_nb.notebook.arguments import split_line
from conduit_nb.options import read_options
from tests.fake_lmlite import FakeRuntime
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = [ROOT / "README.md"] + [
    path for where in ("docs/*.md", "notebooks/*.ipynb") for path in sorted(ROOT.glob(where))
]
COMMAND = re.compile(r"(?P<sign>%{1,2})conduit (?P<word>[a-z]+)")
# Of other programs: of our server and of hf, llama-server and pip.
FOREIGN_OPTIONS = {"--help", "--hf-repo", "--host", "--local-dir", "--no-deps", "--port"}
READY_MADE: dict[str, str] = json.loads((ROOT / "extension/tests/cells.json").read_text())


@pytest.mark.parametrize("name", ["shared server", "deployment"])
def test_the_cells_that_the_sidebar_gives_run_as_they_are_and_rent_nothing(
    cells: Cells, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def answering(runtime: str) -> FakeRuntime:
        return FakeRuntime(("--answers", '{"mood":"good"}'), name=runtime)

    with echo_session(tmp_path, monkeypatch, make_runtime=answering):
        if name == "deployment":  # with options that the cell does not know
            conduit_nb.deploy(
                EMBEDDED_MODEL_ID,
                name="smollm2-abcd",
                runtime="custom",
                image="x",
                max_model_len=1024,
            )
        cells.run(READY_MADE[name])
        running = conduit_nb.ps()

    assert cells.names["moods"]["mood"].tolist() == ["good", "good"]
    assert cells.names["moods"]["error"].isna().all()
    assert len(running) == 1


@pytest.mark.parametrize("name", READY_MADE)
def test_the_lines_of_ready_made_cells_are_read(name: str):
    for line in READY_MADE[name].splitlines():
        read_magic(line)


def read(place: Place, words: list[str]) -> None:
    """Read a line as a shell or a notebook does, with the options' values, and do nothing."""
    command: click.Command = program(place)
    context = click.Context(command, info_name=PROGRAMS[place])
    while isinstance(command, Commands):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, words
        command = found
        if isinstance(command, Commands):
            context = click.Context(command, info_name=name, parent=context)
        else:
            context = command.make_context(name, words, parent=context)
    assert isinstance(command, Command)
    of_options = {one.name for one in command.options}
    values = {name: value for name, value in context.params.items() if name in of_options}
    read_options(command.options, {name: value or None for name, value in values.items()})
    if command.name == "help":
        help_text(context.params["words"], place)


def read_magic(line: str) -> None:
    """Read a line as `%conduit` does; fail where it would."""
    found = COMMAND.match(line)
    if found is not None:
        read("line" if found["sign"] == "%" else "cell", split_line(line[found.start("word") :]))


def fences(path: Path, language: str) -> list[str]:
    """Return the snippets of a page, or of the text cells of a notebook."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "markdown")
    found = re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(snippet) for snippet in found]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_snippets_of_the_docs_are_python_and_their_magics_are_read(path: Path):
    for text in fences(path, "python"):
        for line in text.splitlines():
            read_magic(line)
        body = text
        if text.startswith(("%%conduit schema", "%%conduit map", "%%conduit pipeline")):
            body = text.partition("\n")[2]
        compile(
            TransformerManager().transform_cell(body),
            path.name,
            "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_lines_for_a_shell_in_the_docs_are_read(path: Path):
    for text in fences(path, "(?:bash|sh|console)"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["conduit"]:
                read("shell", words[1:])


@pytest.mark.parametrize("word", names())
def test_examples_in_help_are_read(word: str):
    for place in ("line", "shell"):
        for line in re.findall(r"(?m)^  (%{0,2}conduit \S.*)$", help_text([word], place)):
            example = re.split(r"\s{2,}", line)[0]
            if example.startswith("conduit "):
                read("shell", shlex.split(example)[1:])
            else:
                read_magic(example)


def hints() -> list[tuple[str, str]]:
    """Return every hint in the package, with where it stands; a blank for what is filled in."""
    found: list[tuple[str, str]] = []
    for path in sorted((ROOT / "conduit_nb").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                text = "".join(texts_in(node.value))
                found.append((f"{path.relative_to(ROOT)}:{node.value.lineno}", text))
    return found


def texts_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.FormattedValue):
        yield "X"
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)


def known_options() -> set[str]:
    found: set[str] = set()
    waiting: list[click.Command] = [program("shell"), program("line"), program("cell")]
    while waiting:
        command = waiting.pop()
        if isinstance(command, Commands):
            waiting += command.commands.values()
        elif isinstance(command, Command):
            found.update(flag for one in command.options for flag in flags_of(one))
    return found


def test_commands_and_options_in_hints_are_there():
    options = known_options() | FOREIGN_OPTIONS
    wrong: list[str] = []
    for place, text in hints():
        wrong += [
            f"{place}: {found[0]}"
            for found in COMMAND.finditer(text)
            if found["word"] not in program("line" if found["sign"] == "%" else "cell").commands
        ]
        in_a_shell = re.findall(r"(?:^|[`\s:(])conduit ([a-z]+)", text)
        wrong += [
            f"{place}: {word}" for word in in_a_shell if word not in program("shell").commands
        ]
        named = re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
        wrong += [f"{place}: {option}" for option in named if option not in options]

    assert not wrong
    assert len(hints()) > 100


@pytest.mark.parametrize("line", ["%conduit pss", "%conduit ps # here", "%conduit logs --tial 3"])
def test_a_text_that_would_fail_is_found(line: str):
    with pytest.raises((click.UsageError, ConduitError)):
        read_magic(line)

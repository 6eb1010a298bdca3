"""Every import points strictly downwards, and what is heavy stays where it belongs.

Reads the source, so that imports under TYPE_CHECKING and inside functions count as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

PACKAGE = Path(__file__).resolve().parent.parent / "conduit_nb"

# The part (a module or a folder of conduit_nb) and the layer it stands on.
LAYERS = {
    "errors": 0,
    "units": 0,
    "options": 0,
    "credentials": 0,
    "http_clients": 0,
    "child_environment": 0,
    "settings": 0,
    "events": 0,
    "guard": 0,
    "plugins": 0,
    "plain_text": 0,
    "together": 0,
    "spelling": 0,
    "displayed": 0,
    "private_files": 0,
    "protocol": 1,
    "replies": 1,
    "schemas": 1,
    "models": 1,
    "compute": 2,
    "client": 2,
    "lmlite": 3,
    "runtimes": 3,
    "providers": 3,
    "blocks": 3,
    "state": 3,
    "deployments": 4,
    "runs": 4,
    "plans": 4,
    "loop_thread": 4,
    "evaluation": 4,
    "tuning": 4,
    "telemetry": 4,
    "fleet": 5,
    "images": 5,
    "session": 5,
    "desk": 6,
    "testing": 6,
    "notebook": 7,
    "labserver": 7,
    "command_line": 7,
    "commands": 7,
    "cli": 7,
    "__main__": 7,
    "__init__": 8,  # the public names, lazily: may name everything, and nothing may import it
}

# A part that may look into parts of its own layer, with the reason.
SIBLINGS = {
    ("errors", "plain_text"): "a message that is shown is made safe to show",
    ("errors", "displayed"): "an error that a cell ends with is shown as one",
    ("credentials", "errors"): "a login that is malformed is an error like any other",
    ("child_environment", "http_clients"): "the names of certificates and proxies",
    ("http_clients", "errors"): "a proxy that cannot be used is an error like any other",
    ("settings", "errors"): "a setting that is wrong is an error like any other",
    ("settings", "units"): "a setting that is a number has bounds like any other",
    ("units", "errors"): "a number that is wrong is an error like any other",
    ("options", "errors"): "an option that is wrong is an error like any other",
    ("options", "units"): "an option that is a number has bounds like any other",
    ("options", "spelling"): "an unknown option is answered with the one that was meant",
    ("events", "errors"): "an event carries the error",
    ("plugins", "errors"): "a plugin that is broken is an error like any other",
    ("plugins", "spelling"): "an unknown name is answered with the one that was meant",
    ("private_files", "errors"): "a file that cannot be kept is an error like any other",
    ("together", "errors"): "what failed for several things is one error",
    ("replies", "protocol"): "it reads answers into the wire types",
    ("session", "fleet"): "the session hands over what is about deployments",
    ("command_line", "notebook"): "an import that is interrupted must come to its end",
    ("commands", "command_line"): "the table is made of what a command is",
    ("commands", "notebook"): "the options of cells are declared where they are read",
    ("notebook", "command_line"): "completion reads what a command takes",
    ("notebook", "commands"): "a magic runs a command of the table",
    ("cli", "command_line"): "the shell asks what it may show of a command",
    ("cli", "commands"): "the shell runs a command of the table",
    ("cli", "notebook"): "the shell prints what a notebook shows, in its text form",
    ("__main__", "cli"): "they are one program",
}

# An import of a name in a string is an import too. These are meant.
BY_NAME = {
    ("displayed.py", "conduit_nb.notebook.looks"): "the seam: how things look is the notebook's",
    ("errors.py", "conduit_nb.notebook.row_errors"): "conduit_nb.errors(result) is in a notebook",
    ("session.py", "conduit_nb.fleet"): "what reads the state takes a third of a second to load",
    ("blocks/host.py", "conduit_nb.session"): "the seam: a block that is called alone makes one",
}

# A heavy package in one more place, inside the function that needs it.
WHEN_ASKED = {
    ("compute/selection.py", "pandas"): "why() is a DataFrame, and all else there needs none",
}

# Heavy or special packages, and the only parts that may import them.
CONFINED = {
    "torch": {"lmlite", "testing", "tuning"},
    "transformers": {"lmlite", "testing", "tuning"},
    "tokenizers": {"lmlite", "testing", "tuning"},
    "safetensors": {"lmlite", "testing", "tuning"},
    "accelerate": {"lmlite", "tuning"},
    "llguidance": {"lmlite"},
    "gguf": {"lmlite"},
    "huggingface_hub": {"lmlite", "models"},
    "starlette": {"lmlite", "testing"},
    "prometheus_client": {"lmlite"},
    "uvicorn": {"lmlite", "testing"},
    "numpy": {"lmlite", "notebook", "tuning"},
    "sqlalchemy": {"state"},
    "docker": {"providers"},
    "pandas": {"notebook"},
    "IPython": {"__init__", "notebook"},  # there only for type checkers
    "anywidget": {"notebook"},
    "ipywidgets": {"notebook"},
    "traitlets": {"notebook"},
    "jupyter_server": {"labserver"},
    "tornado": {"labserver"},
    "matplotlib": set(),
}


def files() -> list[str]:
    """Return every module's path inside conduit_nb."""
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def part_of(file: str) -> str:
    """Return the part of the package that a module belongs to."""
    return file.split("/")[0].removesuffix(".py")


@dataclass(frozen=True)
class Import:
    """One import of `module` at `file:line`, by what a program or a string says."""

    file: str
    line: int
    module: str
    by_name: bool = False

    @property
    def part(self) -> str:
        return part_of(self.file)

    def __str__(self) -> str:
        return f"conduit_nb/{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Yield every import in `source`; `from conduit_nb import x` counts as conduit_nb.x."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{file}:{node.lineno}: a relative import"
            for name in node.names:
                whole = f"{node.module}.{name.name}" if node.module == "conduit_nb" else node.module
                yield Import(file, node.lineno, whole)
        elif isinstance(node, ast.Call) and node.args and _is_import_call(node.func):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(file, node.lineno, first.value, by_name=True)


def _is_import_call(function: ast.expr) -> bool:
    return ast.unparse(function) in {"importlib.import_module", "import_module", "__import__"}


def problems_of(found: Import) -> Iterator[str]:
    """Yield what is wrong with one import."""
    names = found.module.split(".")
    if (found.file, names[0]) in WHEN_ASKED:
        return
    if names[0] in CONFINED and found.part not in CONFINED[names[0]]:
        yield f"{found}, which only {sorted(CONFINED[names[0]]) or 'nobody'} may"
    if names[0] != "conduit_nb" or found.part == "__init__":
        return
    target = names[1] if len(names) > 1 else "__init__"
    if target not in LAYERS:
        target = "__init__"  # a public name, not a module
    if target == found.part or (found.part, target) in SIBLINGS:
        return
    if found.by_name and (found.file, found.module) in BY_NAME:
        return
    mine, theirs = LAYERS.get(found.part, -1), LAYERS[target]
    if theirs >= mine:
        yield f"{found}: {found.part} is layer {mine}, {target} is layer {theirs}"


def test_every_part_stands_on_a_layer():
    unknown = {part_of(file) for file in files()} - set(LAYERS)

    assert not unknown, "Add them to LAYERS here and to ARCHITECTURE.md."


def test_every_import_points_to_a_lower_layer():
    problems = {
        problem: None
        for file in files()
        for found in imports_of((PACKAGE / file).read_text(), file)
        for problem in problems_of(found)
    }

    assert not problems, "\n" + "\n".join(problems)


def test_a_module_that_says_on_which_layer_it_stands_is_right():
    wrong: list[str] = []
    for file in files():
        if file.endswith(("__init__.py", "__main__.py")):
            continue
        docstring = ast.get_docstring(ast.parse((PACKAGE / file).read_text())) or ""
        said = re.search(r"\bLayer (\d)", docstring)
        if said is not None and int(said.group(1)) != LAYERS.get(part_of(file)):
            wrong.append(f"conduit_nb/{file} says {said.group()}")

    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("schemas/mdl.py", "from conduit_nb.session import Session"),
        ("schemas/mdl.py", "from conduit_nb import session"),
        ("schemas/mdl.py", "import conduit_nb"),
        ("schemas/mdl.py", "from conduit_nb import LMLiteBlock"),
        ("blocks/llm.py", "from conduit_nb.providers.base import Provider"),
        (
            "client.py",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from conduit_nb.runs import run_rows",
        ),
        ("client.py", "def f():\n    import conduit_nb.notebook.magics"),
        ("state/store.py", 'import importlib\nimportlib.import_module("conduit_nb.session")'),
        ("blocks/files.py", "import torch.nn"),
        ("session.py", "from pandas import DataFrame"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(file: str, source: str):
    found = [problem for one in imports_of(source, file) for problem in problems_of(one)]

    assert found
    assert re.match(rf"conduit_nb/{file}:\d+ imports", found[0])


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("schemas/mdl.py", "from conduit_nb.schemas.shapes import Record"),
        ("session.py", "from conduit_nb import errors"),
        ("lmlite/engine.py", "import torch"),
        ("__init__.py", "from conduit_nb.session import process_session"),
        ("blocks/host.py", 'import importlib\nimportlib.import_module("conduit_nb.session")'),
    ],
)
def test_an_import_that_points_down_is_fine(file: str, source: str):
    assert not [problem for one in imports_of(source, file) for problem in problems_of(one)]

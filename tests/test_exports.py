"""What users may import: it is written out, it resolves, and it is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import conduit_nb

PACKAGE = Path(__file__).resolve().parent.parent / "conduit_nb"
HEAVY = {
    "IPython",
    "accelerate",
    "httpx2",
    "ipywidgets",
    "llguidance",
    "matplotlib",
    "numpy",
    "pandas",
    "pydantic_core",
    "prometheus_client",
    "starlette",
    "torch",
    "transformers",
}
WITHOUT_TORCH = {"torch", "transformers", "accelerate", "llguidance"}


def packages() -> list[str]:
    """Return conduit_nb and every package of it that writes out `__all__`."""
    return sorted(
        ".".join(["conduit_nb", *path.parent.relative_to(PACKAGE).parts])
        for path in PACKAGE.rglob("__init__.py")
        if "__all__" in path.read_text()
    )


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_public_names_are_written_out_once_and_sorted():
    names = conduit_nb.__all__

    assert names, "conduit_nb.__all__ is empty"
    assert sorted(set(names), key=str.casefold) == sorted(names, key=str.casefold)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    written = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and "__all__" in ast.unparse(node).split("=")[0]
    ]
    assert len(written) == 1, "one written-out __all__"
    assert isinstance(written[0], ast.List | ast.Tuple), "written out, not computed"


@pytest.mark.parametrize("package", packages())
def test_every_public_name_resolves(package: str):
    module = importlib.import_module(package)

    missing = [name for name in module.__all__ if getattr(module, name, None) is None]

    assert not missing
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", packages())
def test_every_public_name_has_a_docstring_of_its_own(package: str):
    module = importlib.import_module(package)

    assert not undocumented(module)


def undocumented(module: ModuleType) -> list[str]:
    """Return the public classes and functions, and their public methods, without docstring."""
    found: list[str] = []
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if not vars(thing).get("__doc__", thing.__doc__) or _is_generated(thing):
            found.append(name)
        if inspect.isclass(thing):
            found += [
                f"{name}.{member}"
                for member, value in vars(thing).items()
                if not member.startswith("_")
                and (inspect.isfunction(value) or isinstance(value, property))
                and not inspect.getdoc(value)
            ]
    return found


def _is_generated(thing: object) -> bool:
    # @dataclass writes the signature into an empty docstring.
    return inspect.isclass(thing) and (thing.__doc__ or "").startswith(f"{thing.__name__}(")


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = conduit_nb.no_such_name


def test_importing_conduit_loads_nothing_heavy():
    loaded = set(run_python("import sys, conduit_nb; print(*sys.modules)").split())

    assert not loaded & HEAVY


def test_using_every_public_name_loads_no_torch():
    code = (
        "import sys, conduit_nb\n"
        "for name in conduit_nb.__all__: getattr(conduit_nb, name)\n"
        "print(*sys.modules)"
    )

    assert not set(run_python(code).split()) & WITHOUT_TORCH


def test_every_module_and_every_public_thing_in_it_is_documented():
    bare: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        name = path.relative_to(PACKAGE.parent)
        if not ast.get_docstring(tree):
            bare.append(f"{name}: the module")
        public = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        public += [
            node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        bare += [
            f"{name}:{node.lineno} {node.name}"
            for node in public
            if not node.name.startswith("_") and not ast.get_docstring(node)
        ]

    assert not bare

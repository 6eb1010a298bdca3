"""Classes whose module has changed on disk, though its reload has left them as they were.

IPython's autoreload patches what it can in place. It takes a field with a default, and a member of
a StrEnum, for a plain attribute of the class: the class has the attribute then, but no such field
or member, and a map would ask for what it was before. Only the module's source tells.
Layer 7.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import tokenize
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from conduit_nb.errors import SchemaError
from conduit_nb.notebook.cell import SOURCES
from conduit_nb.schemas import Schema
from conduit_nb.schemas.shapes import EnumChoice, Record, walk

AUTORELOAD = "IPython.extensions.autoreload"


def require_reloaded(*schemas: Schema[Any]) -> None:
    """Raise SchemaError where a class of a schema is not what its reloaded module says."""
    if AUTORELOAD not in sys.modules:  # else nobody expects that a change in a file is seen
        return
    for schema in schemas:
        for path, shape, is_new in walk(schema.shape):
            if not is_new or not isinstance(shape, Record | EnumChoice):
                continue
            if not _is_as_written(shape.cls):
                module = shape.cls.__module__
                raise SchemaError(
                    f"{module} has changed, and its reload has left {shape.cls.__name__} as it was",
                    path=path,
                    hint=f"autoreload changes such classes only in part. Run import importlib; "
                    f"importlib.reload({module}), and import {shape.cls.__name__} again.",
                )


def earlier_hints(names: dict[str, Any], *schemas: Schema[Any]) -> list[str]:
    """Return a remark for each class of a cell whose types would be others if it ran again.

    Classes that were defined again are taken as they are now; an alias (`Mood = Literal[...]`) or
    a number that a type was made with is known to nobody but the statement.
    """
    classes = {
        shape.cls: None
        for schema in schemas
        for _, shape, _ in walk(schema.shape)
        if isinstance(shape, Record) and shape.cls in SOURCES
    }
    remarks: list[str] = []
    for cls in classes:
        annotated = inspect.get_annotations(cls)
        changed = [
            field
            for field, written in _annotations_in(SOURCES[cls])
            if field in annotated and not isinstance(annotated[field], str)
            if not _is_annotation(annotated[field], written, names)
        ]
        if changed:
            fields = ", ".join(f"{cls.__name__}.{field}" for field in changed)
            remarks.append(
                f"The type of {fields} is from before a name in it was redefined: run "
                f"{cls.__name__}'s cell again"
            )
    return remarks


def _annotations_in(written: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in written.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation


def _is_as_written(cls: type[Any]) -> bool:
    """Say whether a class has the fields or members that its source has now; True for no source."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if cls.__module__ == "__main__" or not file or not file.endswith(".py"):
        return True
    try:
        written = _classes_in(file, Path(file).stat().st_mtime_ns).get(cls.__qualname__)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return True
    if written is None:
        return True
    if issubclass(cls, Enum):
        return _names(written, ast.Assign) == _public(cls.__members__)
    return _has_fields(cls, written, vars(module))


@lru_cache(64)
def _classes_in(file: str, changed_ns: int) -> dict[str, ast.ClassDef]:  # noqa: ARG001  # a key of the cache
    """Return the class statements of a file by their qualified names, none of functions."""
    with tokenize.open(file) as source:
        tree = ast.parse(source.read())
    return dict(_classes(tree, ""))


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield f"{prefix}{child.name}", child
            yield from _classes(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _classes(child, prefix)


def _names(written: ast.ClassDef, kind: type[ast.Assign] | type[ast.AnnAssign]) -> list[str]:
    """Return what a class statement assigns, or annotates, in order; private names are left out."""
    names: list[str] = []
    for statement in written.body:
        if not isinstance(statement, kind):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names += [one.id for one in targets if isinstance(one, ast.Name)]
    return _public(names)


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _has_fields(cls: type[Any], written: ast.ClassDef, names: dict[str, Any]) -> bool:
    annotated = inspect.get_annotations(cls)
    if _names(written, ast.AnnAssign) != _public(annotated):
        return False
    fields = {one.name: one for one in dataclasses.fields(cls)}
    for name, annotation in _annotations_in(written):
        if name in annotated and not _is_annotation(annotated[name], annotation, names):
            return False
        default = fields[name].default if name in fields else dataclasses.MISSING
        if default is not dataclasses.MISSING and vars(cls).get(name, default) is not default:
            return False
    return True


def _is_annotation(annotation: Any, written: ast.expr, names: dict[str, Any]) -> bool:
    """Say whether an annotation is what stands in the source; True where it cannot be told."""
    try:
        if isinstance(annotation, str):
            return ast.unparse(ast.parse(annotation, mode="eval")) == ast.unparse(written)
        code = compile(ast.Expression(written), "<annotation>", "eval")
        found = eval(code, dict(names))  # noqa: S307  # what the module's import has evaluated
    except (AttributeError, LookupError, NameError, SyntaxError, TypeError, ValueError):
        return True
    return repr(found) == repr(annotation)

"""Where in a cell a field of a schema is written: from `$.files[].size` to a line.

Layer 7.
"""

from __future__ import annotations

import ast
import re

from conduit_nb.errors import SchemaError
from conduit_nb.notebook.cell import source_line

_FIELD = re.compile(r"\.([^\W\d]\w*)")


def point(error: SchemaError, cell: str, root: str | None = None) -> None:
    """Say in the message at which line of the cell it is, where the cell has the field.

    `root` is the class that the path begins in; without it, it is the one class that has such a
    path.
    """
    if error.line is not None:
        return
    line = line_of(error.path, cell, root)
    if line is not None:
        error.at_line(line, source_line(cell, line))


def line_of(path: str, cell: str, root: str | None = None) -> int | None:
    """Return the line of a field's path, counted from the magic's own; None where it is unknown."""
    try:
        body = ast.parse("\n" + cell).body
    except SyntaxError:
        return None
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    fields = _FIELD.findall(path)
    if root is not None:
        return _walk(classes[root], fields, classes)[0] if root in classes else None
    found = [_walk(node, fields, classes) for node in classes.values()]
    whole = {line for line, is_whole in found if is_whole}
    return whole.pop() if len(whole) == 1 else None


def _walk(
    start: ast.ClassDef, fields: list[str], classes: dict[str, ast.ClassDef]
) -> tuple[int, bool]:
    """Return the line of the last field that the cell has, and whether it has them all."""
    line, here = start.lineno, [start]
    for field in fields:
        found = next((node for one in here if (node := _field(one, field, classes))), None)
        if found is None:
            return line, False
        line = found.lineno
        here = [classes[name] for name in _used(found.annotation) if name in classes]
    return line, True


def _field(
    owner: ast.ClassDef, name: str, classes: dict[str, ast.ClassDef]
) -> ast.AnnAssign | None:
    """Return where a class, or one of the cell that it derives from, writes a field."""
    for node in owner.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == name
        ):
            return node
    bases = [classes[base] for part in owner.bases for base in _used(part) if base in classes]
    return next((found for base in bases if (found := _field(base, name, classes))), None)


def _used(annotation: ast.expr) -> list[str]:
    """Return the names in an annotation, those in strings too."""
    names: list[str] = []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall(r"[^\W\d]\w*", node.value)
    return names

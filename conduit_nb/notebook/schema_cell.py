"""`%%conduit schema`: dataclasses become schemas.

Layer 7.
"""

from __future__ import annotations

from typing import Any

from conduit_nb.errors import ArgumentError, SchemaError
from conduit_nb.notebook.cell import define_dataclasses
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.expressions import overwritten
from conduit_nb.notebook.mdl_display import SchemaListings
from conduit_nb.notebook.places import point
from conduit_nb.notebook.shell import Cell, Shell, show_line
from conduit_nb.schemas import schema_of


def define_schemas(cell: Cell) -> SchemaListings:
    """Carry out `%%conduit schema`: define the cell's dataclasses and show their MDL."""
    shell = cell.shell
    warnings = overwritten(shell.user_ns, "", cell.body)
    classes = classes_of(shell, cell.body)
    for warning in warnings:
        show_line(shell, Line(warning))
    if not classes:
        raise ArgumentError(
            "The cell defines no dataclass.",
            hint="Write one, like `class Review:` with lines `text: str`.",
        )
    return SchemaListings({kind.__name__: _mdl(kind, shell.user_ns) for kind in classes})


def is_open(kind: type) -> bool:
    """Say whether a dataclass is generic, so that it means something with arguments only."""
    return bool(getattr(kind, "__parameters__", ()))


def _mdl(kind: type, namespace: dict[str, Any]) -> str:
    if is_open(kind):
        return f"(a schema with an argument: {kind.__name__}[str], for example)"
    return schema_of(kind, namespace=namespace).mdl


def classes_of(shell: Shell, cell: str) -> list[type]:
    """Define the cell's dataclasses in the user's namespace and return them.

    Raises SchemaError, with the line, where one cannot become a schema.
    """
    filename = shell.compile.cache("\n" + cell, shell.execution_count, raw_code=cell)
    classes = define_dataclasses(cell, shell.user_ns, filename=filename, compiler=shell.compile)
    for kind in classes:
        if is_open(kind):
            continue
        try:
            schema_of(kind, namespace=shell.user_ns)
        except SchemaError as error:
            point(error, cell, kind.__name__)
            raise
    return classes

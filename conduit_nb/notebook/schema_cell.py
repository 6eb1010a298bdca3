"""`%%conduit schema`: dataclasses become schemas.

Layer 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.cell import define_dataclasses
from conduit_nb.notebook.display import Listings
from conduit_nb.notebook.shell import Shell
from conduit_nb.schemas import schema_of


def define_schemas(shell: Shell, tokens: Sequence[str], cell: str) -> Listings:
    """Carry out `%%conduit schema`: define the cell's dataclasses and show their MDL."""
    MagicParser("%%conduit schema", usage="%%conduit schema").parse_line(tokens)
    classes = classes_of(shell, cell)
    if not classes:
        raise ArgumentError(
            "The cell defines no dataclass.",
            hint="Write one, like `class Review:` with lines `text: str`.",
        )
    return Listings(
        {kind.__name__: schema_of(kind, namespace=shell.user_ns).mdl for kind in classes}
    )


def classes_of(shell: Shell, cell: str) -> list[type]:
    """Define the cell's dataclasses in the user's namespace and return them."""
    filename = shell.compile.cache("\n" + cell, shell.execution_count, raw_code=cell)
    return define_dataclasses(cell, shell.user_ns, filename=filename, compiler=shell.compile)

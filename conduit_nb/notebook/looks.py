"""What each of our own things looks like: errors, schemas, blocks and pipelines.

Layer 6.
"""

from __future__ import annotations

from typing import Any, cast

from conduit_nb.blocks.base import Block
from conduit_nb.errors import ConduitError
from conduit_nb.notebook.display import Line, Shown
from conduit_nb.notebook.error_display import ErrorView
from conduit_nb.notebook.mdl_display import SchemaView
from conduit_nb.notebook.pipeline_display import PipelineView
from conduit_nb.schemas import Schema


def bundle_of(thing: object) -> dict[str, str]:
    """Return the forms in which Jupyter shows it."""
    return _view_of(thing)._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]  # Jupyter's protocol


def _view_of(thing: object) -> Shown:
    match thing:
        case ConduitError():
            return ErrorView(thing)
        case Schema():
            return SchemaView(cast("Schema[Any]", thing))
        case Block():
            return PipelineView(cast("Block[Any, Any]", thing))
        case _:
            return Line(repr(thing))

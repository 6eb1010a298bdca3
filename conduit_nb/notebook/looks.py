"""What each of our own things looks like: errors, schemas, pipelines, plans, offerings, receipts…

Layer 7.
"""

from __future__ import annotations

from typing import Any, cast

from conduit_nb.blocks.base import Block
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ConduitError
from conduit_nb.notebook.display import Line, Shown, Table
from conduit_nb.notebook.error_display import ErrorView
from conduit_nb.notebook.mdl_display import SchemaView
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.pipeline_display import PipelineView
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.notebook.serving import ReceiptView
from conduit_nb.plans.answer import PlanAnswer
from conduit_nb.plans.choice import Choice
from conduit_nb.runs.receipts import Receipt
from conduit_nb.schemas import Schema


def bundle_of(thing: object) -> Any:
    """Return the forms in which Jupyter shows it."""
    return _view_of(thing)._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]  # Jupyter's protocol


def _view_of(thing: object) -> Shown | Table[DeploymentInfo]:
    match thing:
        case ConduitError():
            return ErrorView(thing)
        case Schema():
            return SchemaView(cast("Schema[Any]", thing))
        case Block():
            return PipelineView(cast("Block[Any, Any]", thing))
        case PlanAnswer():
            return PlanView(thing)
        case Choice():
            return OfferingsView(thing)
        case Receipt():
            rows = f"{thing.done:,} of {thing.rows:,} rows"
            return ReceiptView(thing, Line(f"{thing.title}: {rows}, {thing.model}"))
        case DeploymentInfo():
            return Table([thing], empty="")
        case _:
            return Line(repr(thing))

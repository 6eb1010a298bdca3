"""`%conduit panel`: what runs, alive on the screen; and from a model's id to one more.

Layer 7.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from conduit_nb.compute.request import LMLITE
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import MissingExtraError
from conduit_nb.notebook import control
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.planning import find_offerings, plan
from conduit_nb.notebook.shell import Cell, is_notebook
from conduit_nb.plans.choice import RUNTIMES_GROUP
from conduit_nb.plans.options import PLANNED_AS
from conduit_nb.plugins import registered_names
from conduit_nb.session import process_session


def show_panel(cell: Cell, model: str | None = None) -> Table[DeploymentInfo]:
    """Carry out `%conduit panel`: show the panel, and below it what runs now, as a table.

    Outside notebooks there is the table alone. Raises MissingExtraError where nothing draws it.
    """
    if is_notebook(cell.shell):
        if find_spec("anywidget") is None:
            raise MissingExtraError(
                "The panel needs the package anywidget.",
                hint="pip install 'conduit-nb[notebook]'; %conduit ps says the same as text.",
            )
        panels = import_module("conduit_nb.notebook.panels.deployment_panel")
        panel = panels.DeploymentPanel(
            process_session(),
            ask=_holding,
            runtimes=sorted(registered_names(RUNTIMES_GROUP), key=lambda name: name != LMLITE),
            model=model or "",
        )
        panel.show("The panel of deployments; what ran when it was opened:")
    return control.ps()


def _holding(model: str, runtime: str, is_fresh: bool) -> OfferingsView:
    """Return what holds a model; where nothing is known of a runtime's memory, what is offered."""
    known = PLANNED_AS.get(runtime)
    return find_offerings(plan(model, runtime=known) if known else None, fresh=is_fresh)

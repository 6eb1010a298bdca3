"""`%conduit offerings` in a notebook: a table that is alive."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.planning import offerings
from conduit_nb.notebook.shell import Cell, is_notebook
from conduit_nb.session import process_session


def show_offerings(cell: Cell, *, static: bool = False, **options: Any) -> OfferingsView:
    """Carry out `%conduit offerings`: return what is offered.

    In a notebook the table is alive, with what it shows now folded below it, for those who read the
    notebook without a kernel.
    """
    view = offerings(**options)
    is_live = is_notebook(cell.shell) and not static and find_spec("anywidget")
    return live_offerings(view, options) if is_live else view


def live_offerings(view: OfferingsView, options: Mapping[str, Any]) -> OfferingsView:
    """Return the view, shown as a table that asks again by itself."""
    table = import_module("conduit_nb.notebook.panels.offering_table")

    def ask(is_fresh: bool) -> OfferingsView:
        # Prices change, the model does not: its files are not read again.
        return offerings(**options, fresh=is_fresh, known_plan=view.choice.plan)

    return table.LiveOfferings(
        view, table.OfferingTable(process_session(), view, ask=ask, asked=options)
    )

"""`%conduit offerings`: what compute is offered, and what of it holds a model.

Layer 7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.line_options import add_options
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.planning import asked_offerings
from conduit_nb.notebook.shell import Shell, is_notebook
from conduit_nb.plans.options import (
    JSON_OPTION,
    LIMIT_OPTION,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
)
from conduit_nb.session import process_session

USAGE = "%conduit offerings [--for ID_OR_FOLDER] [--gpu NAME] [--max-usd-per-hour X] [--why] …"


def show_offerings(shell: Shell, tokens: Sequence[str], cell: str) -> OfferingsView | None:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit offerings`: return what is offered, or print it as JSON.

    In a notebook the table is alive, with what it shows now folded below it, for those who read the
    notebook without a kernel.
    """
    values = read_line(tokens)
    view = asked_offerings(values)
    if not values["as_json"]:
        is_live = is_notebook(shell) and not values["static"] and find_spec("anywidget")
        return live_offerings(view, values) if is_live else view
    print(json.dumps(view.document(why=values["why"]), indent=2, allow_nan=False))
    return None


def read_line(tokens: Sequence[str]) -> dict[str, Any]:
    """Return the values of the options of a line."""
    parser = MagicParser("%conduit offerings", usage=USAGE)
    add_options(parser, (*OFFERINGS_OPTIONS, *PLAN_OPTIONS, WHY_OPTION, LIMIT_OPTION, JSON_OPTION))
    parser.option("--static", action="store_true")
    return vars(parser.parse_line(tokens))


def live_offerings(view: OfferingsView, values: Mapping[str, Any]) -> OfferingsView:
    """Return the view, shown as a table that asks again by itself."""
    table = import_module("conduit_nb.notebook.panels.offering_table")

    def ask(is_fresh: bool) -> OfferingsView:
        # Prices change, the model does not: its files are not read again.
        return asked_offerings(values, fresh=is_fresh, known_plan=view.choice.plan)

    return table.LiveOfferings(
        view,
        table.OfferingTable(
            process_session(),
            view,
            ask=ask,
            asked=values,
        ),
    )

"""`%conduit offerings`: what compute is offered, and what of it holds a model.

Layer 6.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.line_options import add_options
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.planning import asked_offerings
from conduit_nb.notebook.shell import Shell
from conduit_nb.plans.options import (
    JSON_OPTION,
    LIMIT_OPTION,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
)

USAGE = "%conduit offerings [--for ID_OR_FOLDER] [--gpu NAME] [--max-usd-per-hour X] [--why] …"


def show_offerings(shell: Shell, tokens: Sequence[str], cell: str) -> OfferingsView | None:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit offerings`: return what is offered, or print it as JSON."""
    parser = MagicParser("%conduit offerings", usage=USAGE)
    add_options(parser, (*OFFERINGS_OPTIONS, *PLAN_OPTIONS, WHY_OPTION, LIMIT_OPTION, JSON_OPTION))
    values = vars(parser.parse_line(tokens))
    view = asked_offerings(values)
    if not values["as_json"]:
        return view
    print(json.dumps(view.document(why=values["why"]), indent=2, allow_nan=False))
    return None

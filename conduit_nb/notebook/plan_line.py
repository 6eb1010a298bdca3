"""`%conduit plan`: what models need, and whether it fits.

Layer 7.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.line_options import add_options
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.notebook.planning import asked_plan
from conduit_nb.notebook.shell import Shell
from conduit_nb.plans.options import GPU_OPTION, JSON_OPTION, PLAN_OPTIONS

USAGE = "%conduit plan ID_OR_FOLDER … [--gpu NAME] [--tensor-parallel N] [--max-model-len N] …"


def show_plan(shell: Shell, tokens: Sequence[str], cell: str) -> PlanView | None:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit plan`: return the plan, or print it as JSON."""
    parser = MagicParser("%conduit plan", usage=USAGE)
    parser.add_argument("model_ids", nargs="+", metavar="ID_OR_FOLDER")
    add_options(parser, (*PLAN_OPTIONS, GPU_OPTION, JSON_OPTION))
    values = vars(parser.parse_line(tokens))
    view = asked_plan(values["model_ids"], values)
    if not values["as_json"]:
        return view
    print(json.dumps(view.document(), indent=2, allow_nan=False))
    return None

"""`%conduit deploy | start | restart | terminate | extend | adopt | gc | cost | doctor`.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.notebook import deploying, keeping
from conduit_nb.notebook.arguments import MagicParser, number
from conduit_nb.notebook.deploying import CostRow
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.doctor import Finding
from conduit_nb.notebook.doctor import doctor as look
from conduit_nb.notebook.keeping import EndedNode
from conduit_nb.notebook.line_options import add_options
from conduit_nb.notebook.shell import Shell
from conduit_nb.plans.options import DEPLOY_OPTIONS


def deploy(shell: Shell, tokens: Sequence[str], cell: str) -> Table[Any]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit deploy`."""
    parser = MagicParser("%conduit deploy", usage="%conduit deploy ID… [options]")
    parser.add_argument("model_ids", nargs="+", metavar="ID")
    add_options(parser, DEPLOY_OPTIONS)
    values = vars(parser.parse_line(tokens))
    return deploying.asked_deploy(values["model_ids"], values)


def start(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit start`."""
    return deploying.start(_name("start", tokens))


def restart(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit restart`."""
    return deploying.restart(_name("restart", tokens))


def terminate(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit terminate`."""
    return deploying.terminate(_name("terminate", tokens, or_all=True))


def extend(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit extend`."""
    parser = MagicParser("%conduit extend", usage="%conduit extend NAME --hours H")
    parser.add_argument("name", metavar="NAME")
    parser.option("--hours", type=number, default=1.0, metavar="H")
    arguments = parser.parse_line(tokens)
    return deploying.extend(arguments.name, arguments.hours)


def adopt(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit adopt`."""
    return keeping.adopt(_name("adopt", tokens))


def gc(shell: Shell, tokens: Sequence[str], cell: str) -> Table[EndedNode]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit gc`."""
    parser = MagicParser("%conduit gc", usage="%conduit gc [--force]")
    parser.option("--force", action="store_true")
    return keeping.gc(force=parser.parse_line(tokens).force)


def cost(shell: Shell, tokens: Sequence[str], cell: str) -> Table[CostRow]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit cost`."""
    MagicParser("%conduit cost", usage="%conduit cost").parse_line(tokens)
    return deploying.cost()


def doctor(shell: Shell, tokens: Sequence[str], cell: str) -> Table[Finding]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit doctor`."""
    MagicParser("%conduit doctor", usage="%conduit doctor").parse_line(tokens)
    return look()


def _name(word: str, tokens: Sequence[str], *, or_all: bool = False) -> str:
    shown = "NAME|all" if or_all else "NAME"
    parser = MagicParser(f"%conduit {word}", usage=f"%conduit {word} {shown}")
    parser.add_argument("name", metavar="NAME")
    return parser.parse_line(tokens).name

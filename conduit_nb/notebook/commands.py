"""The line magics: `%conduit ps | models | logs | stop | help`.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence

from conduit_nb import settings
from conduit_nb.deployments.info import DeploymentInfo, ServedModel
from conduit_nb.notebook import control
from conduit_nb.notebook.arguments import MagicParser, count
from conduit_nb.notebook.cell import PROVIDED
from conduit_nb.notebook.display import Line, Table, Text
from conduit_nb.notebook.help import help_text
from conduit_nb.notebook.shell import Shell
from conduit_nb.plain_text import plain


def ps(shell: Shell, tokens: Sequence[str], cell: str) -> Table[DeploymentInfo]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit ps`."""
    parser = MagicParser("%conduit ps", usage="%conduit ps [--all]")
    parser.option("--all", action="store_true")
    return control.ps(all_nodes=parser.parse_line(tokens).all)


def models(shell: Shell, tokens: Sequence[str], cell: str) -> Table[ServedModel]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit models`."""
    MagicParser("%conduit models", usage="%conduit models").parse_line(tokens)
    return control.list_models()


def logs(shell: Shell, tokens: Sequence[str], cell: str) -> None:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit logs`: print the lines."""
    parser = MagicParser("%conduit logs", usage="%conduit logs [NAME] [--tail N]")
    parser.add_argument("name", nargs="?")
    parser.option("--tail", type=count, default=100, metavar="N")
    arguments = parser.parse_line(tokens)
    for line in control.logs(arguments.name, tail=arguments.tail):
        print(plain(line))


def stop(shell: Shell, tokens: Sequence[str], cell: str) -> Line:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit stop`."""
    parser = MagicParser("%conduit stop", usage="%conduit stop [NAME|all]")
    parser.add_argument("name", nargs="?")
    arguments = parser.parse_line(tokens)
    ended = control.stop(arguments.name)
    names = ", ".join(deployment.name for deployment in ended)
    return Line(f"Stopped {names}." if names else "Nothing ran.")


def show_help(shell: Shell, tokens: Sequence[str], cell: str) -> Text:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit help [WORD]`."""
    parser = MagicParser("%conduit help", usage="%conduit help [WORD]")
    parser.add_argument("word", nargs="?")
    word = parser.parse_line(tokens).word
    return Text(help_text(word, provided=list(PROVIDED), default_model=settings.default_model()))

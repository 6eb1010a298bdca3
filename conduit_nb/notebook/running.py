"""Runs a command of the table for a magic, and shows what it returns.

Loaded with the first command of a notebook.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from conduit_nb.commands import AsJson, Place, help_text, log_lines, run_line, to_argument_error
from conduit_nb.notebook.display import Text
from conduit_nb.notebook.shell import Cell, Shell


def run_command(shell: Shell, word: str, rest: Sequence[str], body: str | None) -> Any:
    """Carry out `%conduit WORD …`, or `%%conduit WORD …` over a cell; return what is shown.

    Raises ArgumentError where the line cannot be understood, and what the command raises.
    """
    place: Place = "line" if body is None else "cell"
    if word == "help":
        return Text(help_text(rest, "line"))
    cell = Cell(shell=shell, body=body or "")
    tokens = [word, *rest]
    try:
        found = run_line(place, tokens, cell=cell)
    except click.UsageError as err:
        raise to_argument_error(err, place, tokens) from err
    if isinstance(found, AsJson):
        print(json.dumps(found.document(), indent=2, allow_nan=False))
        return None
    if (lines := log_lines(found)) is not None:
        print("\n".join(lines))
        return None
    return found

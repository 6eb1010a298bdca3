"""Runs a command of the table for a magic, and shows what it returns.

Loaded with the first command of a notebook.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from conduit_nb.command_line import AsJson, Place
from conduit_nb.commands import HELP, document_of, log_lines, run_line, to_argument_error
from conduit_nb.notebook.display import Text
from conduit_nb.notebook.shell import Cell, Shell


def run_command(shell: Shell, word: str, rest: Sequence[str], body: str | None) -> Any:
    """Carry out `%conduit WORD …`, or `%%conduit WORD …` over a cell; return what is shown.

    Raises ArgumentError where the line cannot be understood, and what the command raises.
    """
    place: Place = "line" if body is None or word == HELP.name else "cell"
    try:
        found = run_line(place, [word, *rest], cell=Cell(shell=shell, body=body or ""))
    except click.UsageError as err:
        raise to_argument_error(err) from err
    if isinstance(found, AsJson):
        print(json.dumps(document_of(found), indent=2, allow_nan=False))
        return None
    if (lines := log_lines(found)) is not None:
        for line in lines:
            print(line)
        return None
    return Text(found) if isinstance(found, str) else found

"""`%conduit receipts`: what maps were and cost, of this installation or in a notebook's file.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.shell import Shell
from conduit_nb.runs import Receipt
from conduit_nb.runs.receipts import read_notebook, read_receipts

LAST = 20


def show_receipts(shell: Shell, tokens: Sequence[str], cell: str) -> Table[Receipt]:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit receipts`."""
    parser = MagicParser("%conduit receipts", usage="%conduit receipts [NOTEBOOK.ipynb]")
    parser.add_argument("notebook", nargs="?", metavar="NOTEBOOK.ipynb")
    path: str | None = parser.parse_line(tokens).notebook
    return receipts(path)


def receipts(notebook: str | None = None) -> Table[Receipt]:
    """Return the receipts in a notebook's file, or the last ones of this installation."""
    if notebook is None:
        return Table(read_receipts()[-LAST:], empty="No map has left a receipt yet.")
    return Table(read_notebook(Path(notebook)), empty=f"{notebook} holds no receipt.")

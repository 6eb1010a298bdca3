"""`%conduit receipts`: what maps were and cost, of this installation or in a notebook's file.

Layer 7.
"""

from __future__ import annotations

from pathlib import Path

from conduit_nb.notebook.display import Table
from conduit_nb.runs import Receipt
from conduit_nb.runs.receipts import read_notebook, read_receipts

LAST = 20


def receipts(notebook: str | None = None) -> Table[Receipt]:
    """Return the receipts in a notebook's file, or the last ones of this installation."""
    if notebook is None:
        return Table(read_receipts()[-LAST:], empty="No map has left a receipt yet.")
    return Table(read_notebook(Path(notebook)), empty=f"{notebook} holds no receipt.")

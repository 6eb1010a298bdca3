"""How a receipt looks: under the line of the run that it belongs to, and in the notebook's file.

Layer 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from conduit_nb.notebook.display import LONGEST_LINE, Shown, bounded, html_of, html_table
from conduit_nb.runs.receipts import MIME, Receipt


class ReceiptView(Shown):
    """The end's line of a run and its receipt; front ends of our own get the receipt as JSON."""

    def __init__(self, receipt: Receipt, line: Shown) -> None:
        texts = {
            field.name: bounded(value, LONGEST_LINE)
            for field in dataclasses.fields(receipt)
            if isinstance(value := getattr(receipt, field.name), str)
        }
        self._receipt = dataclasses.replace(receipt, **texts)
        self._line = line

    def _text(self) -> str:
        return repr(self._line)

    def _html(self) -> str:
        table = html_table(("receipt", ""), receipt_rows(self._receipt))
        return f"{html_of(self._line)}<details><summary>Receipt</summary>{table}</details>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:  # noqa: ARG002  # Jupyter's protocol
        told = dataclasses.asdict(self._receipt)
        data = {"text/plain": self._text(), "text/html": self._html(), MIME: told}
        # Output metadata is kept where a tool strips the forms that it does not know.
        return data, {"conduit": {"receipt": told}}


def receipt_rows(receipt: Receipt) -> Sequence[tuple[str, str]]:
    """Return what a receipt says, line by line."""
    server = " ".join(part for part in (receipt.runtime, receipt.runtime_version) if part)
    model = receipt.model + (f" at {receipt.revision}" if receipt.revision else "")
    place = ", ".join(part for part in (receipt.device, receipt.provider) if part)
    rows = f"{receipt.done:,} of {receipt.rows:,}, {receipt.failed:,} failed"
    said = {
        "model": model,
        "runtime": server or "a server of one's own",
        "on": place or "not known",
        "rows": rows + (", stopped" if receipt.is_stopped else ""),
        "tokens": f"{receipt.prompt_tokens:,} read, {receipt.completion_tokens:,} written",
        "seconds": f"{receipt.seconds:,.1f}",
        "dollars": "not known" if receipt.usd is None else f"${receipt.usd:,.4f}",
        "schema": f"{receipt.title}, {receipt.schema_hash}",
        "started": receipt.started_at,
    }
    return list(said.items())

"""notebook/receipt_display.py: a receipt under the line of its run."""

from __future__ import annotations

import dataclasses

from conduit_nb.notebook.display import Line
from conduit_nb.notebook.receipt_display import ReceiptView, receipt_rows
from conduit_nb.runs.receipts import MIME
from tests.runs.test_receipts import ONE


def test_the_notebook_gets_line_table_json_and_metadata():
    data, metadata = ReceiptView(ONE, Line("done"))._repr_mimebundle_()

    assert data["text/plain"] == "done"
    assert "<details>" in data["text/html"]
    assert "L4" in data["text/html"]
    assert data[MIME] == dataclasses.asdict(ONE)
    assert metadata["conduit"]["receipt"] == dataclasses.asdict(ONE)


def test_what_others_wrote_is_escaped():
    hostile = dataclasses.replace(ONE, model="<script>x</script>", device="<img onerror=x>")

    data, _ = ReceiptView(hostile, Line("<b>"))._repr_mimebundle_()

    for tag in ("<script", "<img", "<b>"):
        assert tag not in data["text/html"]


def test_what_nobody_knows_is_not_told_as_nothing():
    rows = dict(receipt_rows(dataclasses.replace(ONE, usd=None, device=None)))

    assert rows["dollars"] == "not known"
    assert rows["on"] == "not known"

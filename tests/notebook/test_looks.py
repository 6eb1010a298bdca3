"""notebook/looks.py: each of our own things in a cell's output."""

from __future__ import annotations

from conduit_nb.blocks.base import Block
from conduit_nb.notebook.looks import bundle_of
from tests.notebook.conftest import Cells


def test_a_cell_that_ends_with_one_of_ours_shows_it(cells: Cells):
    cells.run("%%conduit schema\nclass A:\n    text: str\n")
    cells.run("from conduit_nb import Block, schema_of")
    format_of = cells.shell.display_formatter.format

    schema, _ = format_of(cells.run("schema_of(A)"))
    block, _ = format_of(cells.run("Block(A, A, name='same') >> Block(A, A, name='again')"))

    assert schema["text/plain"] == "{\n  text: string\n}"
    assert "<pre" in schema["text/html"]
    assert "again" in block["text/html"]
    assert "│ same" in block["text/plain"]


def test_a_block_by_itself_is_drawn_too(cells: Cells):
    cells.run("%%conduit schema\nclass A:\n    text: str\n")
    block: Block[object, object] = Block(cells.names["A"], cells.names["A"], name="same")

    assert bundle_of(block)["text/plain"].startswith("same: A -> A")

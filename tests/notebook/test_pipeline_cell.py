"""notebook/pipeline_cell.py: a chain in a cell is checked, bound and drawn."""

from __future__ import annotations

import pytest

from conduit_nb.blocks.pipeline import Pipeline
from conduit_nb.errors import (
    ArgumentError,
    BlockError,
    ConduitError,
    PipelineError,
    UntrustedBlockError,
)
from tests.notebook.conftest import Cells

OWN_BLOCKS = """
from dataclasses import dataclass
from conduit_nb import Block

@dataclass
class A:
    text: str

@dataclass
class B:
    size: int

class Size(Block[A, B]):
    def __init__(self):
        super().__init__(A, B, name="size")
    async def _run(self, record, call):
        return B(len(record.text))

class Double(Block[B, B]):
    def __init__(self):
        super().__init__(B, B, name="double")
    async def _run(self, record, call):
        return B(record.size * 2)

size, double = Size(), Double()
"""


@pytest.fixture
def cells(cells: Cells) -> Cells:
    cells.run(OWN_BLOCKS)
    return cells


def test_the_chain_is_bound_and_works(cells: Cells):
    cells.run("%%conduit pipeline twice\nsize >> double >> double")

    assert isinstance(cells.names["twice"], Pipeline)
    assert cells.run("twice(A('abc')).size") == 12


def test_the_chain_is_drawn_with_what_passes_on_every_edge(cells: Cells):
    shown = cells.run("%%conduit pipeline twice\nsize >> double")

    assert repr(shown) == (
        "twice: A -> B\n\n"
        "  │ A {text: string}\n  ▼\n"
        "┌─────────────┐\n│ size (Size) │\n└─────────────┘\n"
        "  │ B {size: int}\n  ▼\n"
        "┌─────────────────┐\n│ double (Double) │\n└─────────────────┘\n"
        "  │ B {size: int}\n  ▼"
    )


def test_statements_before_the_chain_make_blocks_that_need_no_import(cells: Cells):
    cells.run("%%conduit pipeline run\nread = FileSystemReadBlock('a.txt')\n(\n    read\n)")

    assert cells.names["run"] is cells.names["read"]


@pytest.mark.parametrize(
    ("body", "kind", "message", "hint"),
    [
        ("size >>\n", ArgumentError, "line 2", "ends with a chain"),
        ("x = size >> double", ArgumentError, "does not end with a chain", ">>"),
        ("size\n>> double", ArgumentError, "line 3", "ends with a chain"),
        ("", ArgumentError, "does not end with a chain", ">>"),
        ("double = 1 / 0\nsize >> 3", BlockError, "line 2: ZeroDivision", "Correct this line"),
        ("\nsize >> 3", PipelineError, "line 3: int is no block", "Chain blocks with blocks"),
        ("size >> duoble", BlockError, "line 2: NameError", "Did you mean double?"),
        ("x = size >> double\nA", PipelineError, "ends with A, which is no block", "Chain blocks"),
        ("Size", PipelineError, "ends with Size", "Size(...)"),
        ("size\ndouble", ArgumentError, "line 2: `size` stands on a line", "size >> double"),
        ("size >> Size", PipelineError, "Size is no block", "make a block of it, Size(...)"),
        ("(\n  double\n  >> size\n)", PipelineError, "line ", "Put a block between"),
        ("\ndouble >> size", PipelineError, "line 3: double gives B, but size", "Put a block"),
    ],
)
def test_a_mistake_is_an_error_at_its_line(
    cells: Cells, body: str, kind: type[ConduitError], message: str, hint: str
):
    error = cells.fail(f"%%conduit pipeline p\n{body}", kind)

    assert message in str(error)
    assert hint in error.hint
    assert len(error._render_traceback_()) == 2
    assert "p" not in cells.names


def test_a_block_with_effects_that_nobody_trusts_is_refused_at_its_line(cells: Cells):
    cells.run(
        "class Ask(Block[A, A]):\n"
        "    def __init__(self):\n        super().__init__(A, A, name='ask', has_effects=True)\n"
        "ask = Ask()"
    )

    error = cells.fail("%%conduit pipeline p\n\nask >> size", UntrustedBlockError)

    assert str(error).startswith("line 3: ask has effects")
    assert str(error).endswith("in `ask >> size`")
    assert error.line == 3


@pytest.mark.parametrize("name", ["1x", "a.b", "for"])
def test_the_name_is_that_of_a_variable(cells: Cells, name: str):
    assert "no name for a variable" in str(cells.fail(f"%%conduit pipeline {name}\nsize"))


def test_help_shows_how(cells: Cells):
    assert "extract >> report >> save" in repr(cells.run("%conduit help pipeline"))

"""notebook/pipeline_cell.py: a chain in a cell is checked, bound and drawn."""

from __future__ import annotations

import re

import pytest

from conduit_nb.blocks.pipeline import Pipeline
from conduit_nb.errors import (
    ArgumentError,
    BlockError,
    ConduitError,
    PipelineError,
    UntrustedBlockError,
)
from conduit_nb.spelling import did_you_mean
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
    ("body", "kind", "line", "facts", "hint"),
    [
        ("size >>\n", ArgumentError, 2, "size >>", ">>"),
        ("x = size >> double", ArgumentError, None, "", ">>"),
        ("size\n>> double", ArgumentError, 3, ">> double", ">>"),
        ("", ArgumentError, None, "", ">>"),
        ("double = 1 / 0\nsize >> 3", BlockError, 2, "ZeroDivisionError", ""),
        ("\nsize >> 3", PipelineError, 3, r"\bint\b.*`size >> 3`", ""),
        ("size >> duoble", BlockError, 2, "NameError.*duoble", did_you_mean("double")),
        ("x = size >> double\nA", PipelineError, None, r"\bA\b", ""),
        ("Size", PipelineError, None, r"\bSize\b", "Size(...)"),
        ("size\ndouble", ArgumentError, 2, "`size`", "size >> double"),
        ("size >> Size", PipelineError, 2, r"\bSize\b.*`size >> Size`", "Size(...)"),
        ("(\n  double\n  >> size\n)", PipelineError, 3, r"double.*\bB\b.*size", ""),
        ("\ndouble >> size", PipelineError, 3, r"double.*\bB\b.*size.*\bA\b", ""),
    ],
)
def test_a_mistake_is_an_error_at_its_line(
    cells: Cells, body: str, kind: type[ConduitError], line: int | None, facts: str, hint: str
):
    error = cells.fail(f"%%conduit pipeline p\n{body}", kind)

    assert type(error) is kind
    assert error.line == line
    assert re.search(facts, str(error))
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

    assert str(error).startswith("line 3: ask ")
    assert str(error).endswith("`ask >> size`")
    assert error.line == 3


@pytest.mark.parametrize("name", ["1x", "a.b", "for"])
def test_the_name_is_that_of_a_variable(cells: Cells, name: str):
    error = cells.fail(f"%%conduit pipeline {name}\nsize", ArgumentError)

    assert error.param == "name"
    assert repr(name) in str(error)


def test_help_shows_how(cells: Cells):
    assert "extract >> report >> save" in repr(cells.run("%conduit help pipeline"))

"""notebook/debug_line.py: all of the last error, and the rows that failed."""

from __future__ import annotations

import re

import pytest

from conduit_nb.errors import ArgumentError, ContextLengthError, SchemaError
from conduit_nb.notebook.debug_line import FailedRows
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

ROWS = """
import pandas as pd
from conduit_nb.errors import ConduitError, Problem, ValidationError
bad = ValidationError((Problem(path="$.mood", message="expected good"),), text="<i>so so</i>")
out = pd.DataFrame({"mood": ["good", None, None], "error": [None, bad, bad]}, index=[7, 8, 9])
"""


def test_the_last_error_is_shown_whole(cells: Cells):
    cells.fail("%%conduit schema\nclass A:\n    x: complex", SchemaError)

    shown = repr(cells.run("%conduit debug"))

    assert shown.startswith("SchemaError: line 3: $.x")
    assert "Traceback (most recent call last)" in shown
    assert "schema_cell.py" in shown


def test_an_error_of_python_code_counts_as_well(cells: Cells):
    cells.shell.run_cell("1 / 0")

    assert "ZeroDivisionError: division by zero" in repr(cells.run("%conduit debug"))


def test_the_rows_that_failed_are_shown_with_field_and_text(cells: Cells):
    cells.run(ROWS)

    bundle = cells.run("%conduit debug out")._repr_mimebundle_()

    head, _, columns, first, second = bundle["text/plain"].splitlines()
    assert head == "2 rows failed:"
    assert columns.split("  ")[0] == "row"
    assert re.split(" {2,}", first.strip()) == [
        "8",
        "ValidationError",
        "$.mood",
        "expected good",
        "<i>so so</i>",
    ]
    assert second.startswith("9 ")
    assert "<i>" not in bundle["text/html"]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("out.error[8]", "$.mood  expected good"),
        ("out.error", "2 rows failed"),
        ("out --limit 1", "2 rows failed; the first 1:"),
        ("[None]", "No row failed."),
    ],
)
def test_one_error_a_column_or_a_list_may_be_named(cells: Cells, what: str, says: str):
    cells.run(ROWS)

    assert says in repr(cells.run(f"%conduit debug {what}"))


def test_what_is_no_error_is_refused(cells: Cells):
    cells.run("out = 3")

    assert "neither an error nor" in str(cells.fail("%conduit debug out", ArgumentError))
    assert "Did you mean out?" in cells.fail("%conduit debug uot", ArgumentError).hint


def test_the_rows_of_a_real_map_can_be_looked_into(cells: Cells, server: OpenAIServer):
    cells.run("rows = [{'text': 'good'}, {'text': 'NONSENSE'}]")
    cells.run(
        f"%%conduit map rows -o out --endpoint {server.url}\n"
        "class Verdict:\n    mood: Literal['good', 'bad']\n"
    )

    shown = repr(cells.run("%conduit debug out"))

    assert "row" in shown


def test_what_to_do_stands_beside_what_is_wrong():
    shown = repr(FailedRows([("3", ContextLengthError("too long", hint="Shorten the input."))]))
    assert "what to do" in shown
    assert "Shorten the input." in shown

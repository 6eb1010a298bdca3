"""notebook/debug_line.py: all of the last error, and the rows that failed."""

from __future__ import annotations

import re

import pytest

from conduit_nb.errors import ArgumentError, ContextLengthError, SchemaError
from conduit_nb.notebook.debug_line import FailedRows
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer


@pytest.fixture
def out(cells: Cells, server: OpenAIServer) -> None:
    """Bind `out`, of which the first row is answered, one does not fit and two are refused."""
    cells.run(
        "import pandas as pd\n"
        "rows = pd.DataFrame({'text': ['good', None, '<i>REFUSED', 'REFUSED']}, index=[7, 8, 9, 9])"
    )
    cells.run(
        f"%%conduit map rows -o out --endpoint {server.url}\n"
        "class Row:\n    text: str\n\nclass Verdict:\n    mood: Literal['good', 'bad']\n"
    )


def test_the_last_error_is_shown_whole(cells: Cells):
    cells.fail("%%conduit schema\nclass A:\n    x: complex", SchemaError)

    shown = repr(cells.run("%conduit debug"))

    assert shown.startswith("SchemaError: line 3: $.x")
    assert "Traceback (most recent call last)" in shown
    assert "cell.py" in shown


def test_an_error_of_python_code_counts_as_well(cells: Cells):
    cells.shell.run_cell("1 / 0")

    assert "ZeroDivisionError: division by zero" in repr(cells.run("%conduit debug"))


@pytest.mark.usefixtures("out")
def test_rows_that_failed_alike_share_a_line_with_field_and_text(cells: Cells):
    bundle = cells.run("%conduit debug out")._repr_mimebundle_()

    head, _, columns, first, second = bundle["text/plain"].splitlines()
    assert head == "3 rows failed in 2 ways:"
    assert columns.split("  ")[0] == "rows"
    assert re.split(" {2,}", first.strip())[:4] == ["1", "8", "ValidationError", "$.text"]
    assert 'The row: {"text": null}' in first
    assert re.split(" {2,}", second.strip())[:3] == ["2", "9, 9", "RequestRefusedError"]
    assert "<i>" not in bundle["text/html"]


@pytest.mark.usefixtures("out")
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("out.error.iloc[1]", 'The row:\n{"text": null}'),
        ("out.error[8]", "$.text  expected"),
        ("out.error", "3 rows failed"),
        ("out --limit 1", "3 rows failed in 2 ways; the first 1:"),
        ("out[out.error_code=='validation'].copy()", "1 row failed"),
        ("conduit_nb.errors(out)", "3 rows failed"),
        ("[None]", "No row failed."),
    ],
)
def test_one_error_a_column_or_a_list_may_be_named(cells: Cells, what: str, says: str):
    cells.run("import conduit_nb")

    assert says in repr(cells.run(f"%conduit debug {what}"))


def test_what_is_no_error_is_refused(cells: Cells):
    cells.run("out = 3")

    error = cells.fail("%conduit debug out", ArgumentError)

    assert error.param == "error"
    assert re.search(r"\bout\b.*\bint\b", str(error))
    assert did_you_mean("out") in cells.fail("%conduit debug uot", ArgumentError).hint


def test_what_to_do_stands_beside_what_is_wrong():
    shown = repr(FailedRows([("3", ContextLengthError("too long", hint="Shorten the input."))]))
    assert "what to do" in shown
    assert "Shorten the input." in shown

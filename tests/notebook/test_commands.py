"""notebook/commands.py: the line magics, where nothing runs."""

from __future__ import annotations

from conduit_nb.errors import ArgumentError
from tests.notebook.conftest import Cells


def test_where_nothing_runs_the_words_say_so(cells: Cells):
    assert repr(cells.run("%conduit ps")) == "Nothing runs."
    assert repr(cells.run("%conduit stop")) == "Nothing ran."
    assert repr(cells.run("%conduit stop all")) == "Nothing ran."
    assert all(model.state == "available" for model in cells.run("%conduit models"))


def test_a_name_that_nothing_has_is_an_error(cells: Cells):
    for cell in ("%conduit stop zebra", "%conduit logs zebra"):
        error = cells.fail(cell, ArgumentError)

        assert "'zebra'" in str(error)
        assert error.hint

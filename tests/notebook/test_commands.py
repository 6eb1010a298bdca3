"""notebook/commands.py and control.py: what runs, where nothing does."""

from __future__ import annotations

import conduit_nb
from conduit_nb.errors import ArgumentError
from tests.notebook.conftest import Cells


def test_where_nothing_runs_the_words_say_so(cells: Cells):
    assert repr(cells.run("%conduit ps")) == "Nothing runs."
    assert repr(cells.run("%conduit stop")) == "Nothing ran."
    assert repr(cells.run("%conduit stop all")) == "Nothing ran."
    assert all(model.state == "available" for model in cells.run("%conduit models"))


def test_python_has_the_same_words():
    assert conduit_nb.ps() == []
    assert conduit_nb.stop() == []
    assert conduit_nb.stop("all") == []
    assert all(model.state == "available" for model in conduit_nb.list_models())
    assert isinstance(conduit_nb.logs(tail=3), list)


def test_a_name_that_nothing_has_is_an_error(cells: Cells):
    for cell in ("%conduit stop zebra", "%conduit logs zebra"):
        error = cells.fail(cell, ArgumentError)

        assert "'zebra'" in str(error)
        assert error.hint

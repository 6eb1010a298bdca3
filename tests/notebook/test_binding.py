"""notebook/binding.py: of several maps, the one that was started last binds a variable."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.binding import Binding, require_bound
from tests.notebook.conftest import Cells


def test_a_variable_is_that_of_the_last_map_and_others_get_a_name_beside_it(cells: Cells):
    first, second, other = (Binding(cells.shell, name, "a -> B") for name in ("out", "out", "x"))

    assert first.begin() == []
    assert first.name == "out"
    [warning] = second.begin()
    assert other.begin() == []
    second.bind(2)
    first.bind(1)

    assert "Its result will be out_earlier" in warning
    assert (cells.names["out"], cells.names["out_earlier"]) == (2, 1)
    assert Binding(cells.shell, "out", "a -> B").begin() == []


@pytest.mark.parametrize(
    ("expression", "is_meant"),
    [("out", True), ("out.head(3)", True), ("other[out.x > 1]", True), ("output", False)],
)
def test_an_expression_with_a_variable_of_a_map_that_runs_is_refused_or_warned_of(
    cells: Cells, expression: str, is_meant: bool
):
    binding = Binding(cells.shell, "out", "a -> B")
    binding.begin()

    assert bool(require_bound(cells.shell, expression, {"out": 1})) == is_meant
    if is_meant:
        with pytest.raises(ArgumentError, match=r"\bout\b.*a -> B"):
            require_bound(cells.shell, expression, {})
    binding.bind(3)
    assert not require_bound(cells.shell, expression, {})

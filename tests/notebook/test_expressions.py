"""notebook/expressions.py: what ROWS and its like stand for, and what was meant."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.expressions import Binding, require_bound, resolve, users_names
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells


def test_names_of_the_shell_and_of_python_are_not_the_users():
    assert users_names({"df": 1, "_": 2, "In": [], "open": open, "exit": 3}) == ["df"]


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("tickets.csv", 'pd.read_csv("tickets.csv")'),
        ("data/my tickets.CSV", "pd.read_csv"),
        ("a.parquet", 'pd.read_parquet("a.parquet")'),
        ("a.jsonl", 'pd.read_json("a.jsonl", lines=True)'),
    ],
)
def test_a_file_in_the_place_of_rows_is_told_how_it_is_read(path: str, reader: str):
    with pytest.raises(ArgumentError) as caught:
        resolve(path, {"tickets": 3}, what="ROWS")
    assert reader in caught.value.hint


def test_what_a_shell_has_for_itself_is_not_what_was_meant():
    with pytest.raises(ArgumentError) as caught:
        resolve("out", {"Out": {}, "In": []}, what="ROWS")
    assert caught.value.hint
    assert "Out" not in caught.value.hint


def test_a_name_that_is_only_a_builtin_is_not_suggested():
    with pytest.raises(ArgumentError) as caught:
        resolve("Nope", {"open": open}, what="--input")

    assert "open" not in caught.value.hint


def test_an_expression_is_resolved_in_the_namespace():
    assert resolve("rows[1:]", {"rows": [1, 2]}, what="ROWS") == [2]


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        ("review", NameError),
        ("zebra", NameError),
        ("reviews.hed(3)", AttributeError),
        ("reviews +", SyntaxError),
        ("reviews[9]", IndexError),
    ],
)
def test_an_expression_that_fails_is_an_argument_error(expression: str, cause: type[Exception]):
    with pytest.raises(ArgumentError) as caught:
        resolve(expression, {"reviews": [1]}, what="ROWS")

    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.param == "rows"
    assert repr(expression) in str(caught.value)
    assert (did_you_mean("reviews") == caught.value.hint) is (expression == "review")
    assert caught.value.hint


BLOCK = "%%conduit block {} --input A --output B\nSay it."


@pytest.mark.parametrize(
    ("before", "cell", "replaced"),
    [
        ("import json", BLOCK.format("json"), "the result replaces json, which was a module"),
        ("def say(): pass", BLOCK.format("say"), "the result replaces say, which was a function"),
        ("rows = [1]", "%%conduit schema\nclass rows:\n    x: int", "class rows replaces rows"),
        ("x = 1", BLOCK.format("say") + "\n", ""),
    ],
)
def test_every_cell_warns_of_a_name_that_it_hides(
    cells: Cells, before: str, cell: str, replaced: str
):
    cells.run("%%conduit schema\nclass A:\n    a: str\n\nclass B:\n    b: str\n")
    cells.run(before)

    cells.run(cell)
    first = cells.stderr
    cells.run(cell)

    assert (f"Warning: {replaced}" in first) if replaced else ("Warning" not in first)
    assert "Warning" not in cells.stderr


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

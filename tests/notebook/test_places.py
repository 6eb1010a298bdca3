"""notebook/places.py: from the path of a field to its line in the cell."""

from __future__ import annotations

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.notebook.places import line_of, point
from tests.notebook.conftest import Cells

CELL = """
class Item:
    name: str
    size: int

class Base:
    items: list[Item]

class Order(Base):
    note: "Item | None"
    size: float
"""


@pytest.mark.parametrize(
    ("path", "root", "line"),
    [
        ("$.items[].size", "Order", 5),
        ("$.note.name", "Order", 4),
        ("$.size", "Order", 12),
        ("$", "Item", 3),
        ("$.items[].gone", "Order", 8),
        ("$.gone", "Order", 10),
        ("$.x", "Unknown", None),
        ("$.note", None, 11),
        ("$.size", None, None),
        ("$.nothing", None, None),
    ],
)
def test_a_path_is_followed_through_the_cells_classes(path: str, root: str | None, line: int):
    assert line_of(path, CELL, root) == line


def test_what_is_no_python_has_no_lines():
    assert line_of("$.x", "class A") is None


def test_a_place_is_said_once():
    error = SchemaError("E17.", path="$.items[].size")

    point(error, CELL, "Order")
    point(error, CELL, "Item")

    assert str(error) == "line 5: $.items[].size: E17, in `size: int`"
    assert error.path == "$.items[].size"


@pytest.mark.parametrize(
    ("cell", "says", "line", "path"),
    [
        ("%%conduit schema\nclass A:\n    x: int\n    y: list[Any]\n", "line 4: $.y", 4, "$.y[]"),
        ("%%conduit map df\nclass A:\n    x: int\n\n    y: complex\n", "line 5: $.y", 5, "$.y"),
        (
            "%%conduit map df\nclass A:\n    x: int\nclass B:\n    raw: bytes\n",
            "line 5: $.raw",
            5,
            "$.raw",
        ),
        ("%%conduit map df\nclass Empty:\n    x = 1\n", "line 2: $: Empty ", 2, "$"),
    ],
)
def test_an_error_of_a_schema_points_at_the_cells_line(
    cells: Cells, cell: str, says: str, line: int, path: str
):
    cells.run("df = [{'x': 1}]")

    error = cells.fail(cell, SchemaError)

    assert (error.line, error.path) == (line, path)
    assert str(error).startswith(says)
    assert str(error).endswith("`")
    assert len(error._render_traceback_()) == 2

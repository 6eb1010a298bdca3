"""notebook/schema_cell.py: a cell's dataclasses become schemas and are shown."""

from __future__ import annotations

from conduit_nb.errors import SchemaError
from tests.notebook.conftest import Cells


def test_schemas_are_defined_and_shown_as_mdl(cells: Cells):
    shown = cells.run(
        "%%conduit schema\n"
        "class Item:\n    name: str\n"
        "class Order:\n    items: List[Item]\n    note: Optional[str] = None\n"
    )

    assert repr(shown) == (
        "Item\n  {\n    name: string\n  }\n\n"
        "Order\n  {\n    items: {name: string}[]\n    note?: string | null\n  }"
    )
    assert cells.run("Order(items=[Item('a')]).items[0].name") == "a"


def test_a_schema_that_cannot_be_is_an_error_with_the_fields_path(cells: Cells):
    error = cells.fail("%%conduit schema\nclass A:\n    x: list[Any]", SchemaError)

    assert "$.x" in str(error)
    assert error.hint


def test_a_future_import_of_the_session_is_kept_to(cells: Cells):
    cells.run("from __future__ import annotations")

    shown = cells.run("%%conduit schema\nclass Node:\n    next: Optional[Node]\n")

    assert "next: Node | null" in repr(shown)


def test_a_traceback_into_a_cells_code_shows_its_source(cells: Cells):
    cells.run(
        "%%conduit schema\nclass A:\n    x: int\n    def half(self):\n        return self.x / 0\n"
    )
    cells.shell.run_cell("A(1).half()")

    assert cells.names["A"].half.__code__.co_firstlineno == 4


def test_a_generic_dataclass_is_shown_as_what_it_is(cells: Cells):
    cells.run("T = __import__('typing').TypeVar('T')")

    shown = cells.run("%%conduit schema\nclass Page(Generic[T]):\n    items: List[T]\n")

    assert "Page[str], for example" in repr(shown)


def test_what_a_field_says_is_escaped(cells: Cells):
    shown = cells.run(
        "%%conduit schema\nclass A:\n    x: Annotated[str, '<script>alert(1)</script>']\n"
    )

    html = shown._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_a_field_without_a_type_is_told_so(cells: Cells):
    error = cells.fail("%%conduit schema\nclass A:\n    topic\n", SchemaError)

    assert error.line == 3
    assert "line 3: topic " in str(error)
    assert "`topic: str`" in error.hint

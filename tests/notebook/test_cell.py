"""notebook/cell.py: a cell's text becomes dataclasses."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from typing import Any, Literal, Optional

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.notebook.cell import PROVIDED, define_dataclasses, line_of, point
from conduit_nb.schemas import Range, schema_of
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells


def namespace(**names: object) -> dict[str, Any]:
    return {"__name__": "__main__", **names}


def define(cell: str, names: dict[str, Any] | None = None) -> list[type]:
    return define_dataclasses(cell, namespace() if names is None else names, filename="<cell>")


def test_classes_become_dataclasses_without_a_decorator_and_stay_in_the_namespace():
    names = namespace()

    defined = define("class Item:\n    name: str\n\nclass Order:\n    items: list[Item]\n", names)

    assert defined == [names["Item"], names["Order"]]
    assert all(dataclasses.is_dataclass(kind) for kind in defined)
    assert names["Order"](items=[names["Item"]("a")]).items[0].name == "a"
    assert names["Order"].__module__ == "__main__"


def test_a_decorator_that_is_there_is_left_as_it_is():
    [kind] = define("@dataclass(frozen=True)\nclass Item:\n    name: str\n")

    with pytest.raises(dataclasses.FrozenInstanceError):
        kind("a").name = "b"


def test_a_class_derives_from_another_of_the_cell():
    defined = define("class A:\n    a: int\nclass B(A):\n    b: int\n")

    assert [field.name for field in dataclasses.fields(defined[1])] == ["a", "b"]


def test_enums_and_other_classes_are_no_dataclasses_and_usable_in_fields():
    names = namespace()

    defined = define(
        "class Mood(Enum):\n    GOOD = 'good'\n"
        "class Oops(Exception):\n    pass\n"
        "class Verdict:\n    mood: Mood\n",
        names,
    )

    assert defined == [names["Verdict"]]
    assert issubclass(names["Mood"], enum.Enum)
    assert schema_of(names["Verdict"]).mdl == '{\n  mood: "good"\n}'


def test_common_names_need_no_import_and_are_then_the_users_own():
    names = namespace()

    [kind] = define(
        "class V:\n"
        "    a: Optional[Literal['x']]\n"
        "    b: Annotated[int, Range(ge=1)]\n"
        "    c: 'List[date]'\n",
        names,
    )

    assert schema_of(kind, namespace=names).mdl
    assert (names["Optional"], names["Literal"], names["Range"]) == (Optional, Literal, Range)
    assert "Enum" not in names, "only what the cell uses"


def test_a_name_of_the_users_own_wins_over_the_one_provided():
    class Range:
        pass

    names = namespace(Range=Range)

    define("width = Range\nclass V:\n    a: int\n", names)

    assert names["width"] is Range


def test_a_field_called_like_a_provided_name_provides_nothing():
    names = namespace()

    define("class V:\n    date: str\n    field: int\n", names)

    assert "date" not in names
    assert "field" not in names


@pytest.mark.parametrize("name", sorted(PROVIDED))
def test_every_provided_name_can_be_used_without_an_import(name: str):
    names = namespace()

    define(f"seen = {name}\nclass V:\n    a: int\n", names)

    assert names["seen"] is PROVIDED[name]


def test_string_annotations_of_a_future_import_are_understood():
    names = namespace()

    defined = define(
        "from __future__ import annotations\n"
        "class Node:\n    value: Optional[int]\n    children: List[Node]\n",
        names,
    )

    assert schema_of(defined[0], namespace=names).mdl


def test_a_class_defined_twice_counts_once_and_as_it_was_last():
    [kind] = define("class V:\n    a: int\nclass V:\n    b: int\n")

    assert [field.name for field in dataclasses.fields(kind)] == ["b"]


def test_a_docstring_stays_the_instruction():
    [kind] = define("class V:\n    '''Say how it feels.'''\n    a: int\n")

    assert schema_of(kind).instruction == "Say how it feels."
    assert inspect.getdoc(kind) == "Say how it feels."


@pytest.mark.parametrize(
    ("cell", "line", "message"),
    [
        ("class V:\n    a int\n", 3, "invalid syntax, in `a int`"),
        ("class V:\na: int\n", 3, "expected an indented block"),
        ("class V\n    a: int\n", 2, "expected ':'"),
        ("x = 1\nclass V:\n    a: Sometype\n", 4, "NameError: name 'Sometype' is not defined"),
        ("class V:\n    a: list[int] = []\n", 2, "ValueError: mutable default"),
        ("class V:\n    a: int = 1\n    b: str\n", 2, "TypeError: non-default argument"),
        ("class V:\n    a: List[]\n", 3, "invalid syntax"),
        ("import nothing_of_that_name\n", 2, "ModuleNotFoundError"),
        ("class V:\n    a: int\n    return 1\n", 4, "'return' outside function"),
        ("class V:\n    a: 'é\n", 3, "unterminated string"),
        ("class V:\n    a: str[1, 2].b\n", 3, "TypeError"),
        ("class V:\n    a: 'x' | 'y'\n", 3, "TypeError: unsupported operand"),
    ],
)
def test_what_is_wrong_in_a_cell_is_an_error_with_the_cells_own_line(
    cell: str, line: int, message: str
):
    with pytest.raises(SchemaError, match=rf"^line {line}: ") as caught:
        define(cell)

    assert caught.value.line == line
    assert message in str(caught.value)  # Python's own words
    assert caught.value.hint


def test_a_mistyped_name_gets_the_nearest():
    with pytest.raises(SchemaError) as caught:
        define("class V:\n    a: Optinal[int]\n")

    assert caught.value.hint == did_you_mean("Optional")


def test_texts_joined_like_types_are_told_of_literal():
    with pytest.raises(SchemaError) as caught:
        define("class V:\n    kind: 'question' | 'bug'\n")

    assert "Literal[" in caught.value.hint


def test_a_class_that_is_named_before_it_is_defined_is_to_be_quoted():
    with pytest.raises(SchemaError) as caught:
        define("class Node:\n    next: Optional[Node]\n")

    assert caught.value.line == 3
    assert isinstance(caught.value.__cause__, NameError)
    assert "Node" in caught.value.hint
    assert did_you_mean("Node") not in caught.value.hint


def test_nothing_of_a_cell_with_a_syntax_error_is_run():
    names = namespace()

    for cell in ("a = 1\nclass V:\n    b int\n", "a = 1\nreturn\n"):
        with pytest.raises(SchemaError):
            define(cell, names)

    assert "a" not in names


def test_an_error_that_has_nothing_to_do_with_classes_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        define("1 / 0\n")


@pytest.mark.parametrize(
    ("hint", "cure"),
    [
        ("Annotated[int, Range(1, 5)]", "Range(ge=1, le=5)"),
        ("Annotated[int, Range(min=1)]", "Range(ge=1, le=5)"),
        ("Annotated[str, Length(1, 2, 3)]", "Length(1, 80)"),
        ('str("low", "high")', 'Literal["a", "b"]'),
        ("Literal[low, high]", 'Literal["low", ...]'),
    ],
)
def test_what_newcomers_write_in_a_type_is_told_what_it_should_be(hint: str, cure: str):
    with pytest.raises(SchemaError) as caught:
        define(f"class A:\n    kind: {hint}")
    assert cure in caught.value.hint


def test_a_model_of_pydantic_is_refused_at_its_line():
    with pytest.raises(SchemaError, match=r"^line 3: .*\bA\b.*pydantic") as caught:
        define("from pydantic import BaseModel\nclass A(BaseModel):\n    text: str")
    assert "BaseModel" in caught.value.hint


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

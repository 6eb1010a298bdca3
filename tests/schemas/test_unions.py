"""Unions: members are distinguished, or refused with both members named."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import Range, schema_of
from tests.schemas.records import check_problems, has_facts, holder_of, problems_of

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Grade(Enum):
    GOOD = 1.0
    ODD = 1.5


@dataclass
class Circle:
    kind: Literal["circle"]
    size: float


@dataclass
class Square:
    kind: Literal["square"]
    size: float


@dataclass
class Dot:
    """Its tag has a default, and is written and required all the same."""

    kind: Literal["dot"] = "dot"


@dataclass
class Named:
    name: str


@dataclass
class Priced:
    price: float
    name: str = ""


@dataclass
class Loose:
    name: str = ""


@dataclass
class Painted:
    color: Literal["red"]


@dataclass
class Tinted:
    color: Color


@dataclass
class Box(Generic[T]):
    value: T


TAGS = ('"circle"', '"square"', '"dot"')


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (int | str | None, [1, "1", None]),
        (int | float, [1, 1.0, 0.5, 10**30, 1e30]),
        (float | str, [1.5, 2.0, "x"]),
        (bool | int, [True, 1, False, 0]),
        (str | bytes | int | float | None, ["AA==", b"AA==", 1, 1.5, None]),
        (list[int] | dict[str, int] | str, [[1], {"a": 1}, "x"]),
        (Circle | Square | Dot, [Circle("circle", 1.0), Square("square", 1.0), Dot()]),
        (Named | Priced | None, [Named("x"), Priced(1.0), Priced(2.0, "y"), None]),
        (Named | list[Named] | str, [Named("x"), [Named("y")], "z"]),
        (Color | int, [Color.RED, 1]),
        (Color | Literal["green"], [Color.BLUE, "green"]),
        (Grade | str, [Grade.GOOD, Grade.ODD, "x"]),
        (Literal["a", 1] | bool, ["a", 1, True]),
        (Named | bytes | str, [Named("x"), b"x", "x"]),
        (date | int, [date(2024, 2, 29), 1]),
        (datetime | None, [datetime(2024, 1, 1, tzinfo=UTC), None]),
        (Box[int] | Named, [Box(1), Named("x")]),
    ],
)
def test_members_that_are_distinct_come_back_as_they_were(hint: Any, values: list[Any]):
    holder = holder_of(hint)
    schema = schema_of(holder)

    for value in values:
        back = schema.decode(schema.encode(holder(value)))

        assert back == holder(value)
        assert type(back.f) is type(value)


@pytest.mark.parametrize(
    ("hint", "one", "other"),
    [
        (Literal["a"] | str, "Literal['a']", "str"),
        (date | str, "date", "str"),
        (date | datetime, "date", "datetime"),
        (list[int] | list[str], "list[int]", "list[str]"),
        (dict[str, int] | dict[str, str], "dict[str, int]", "dict[str, str]"),
        (Color | str, "Color", "str"),
        (Color | Literal["red"], "Color", "Literal['red']"),
        (Grade | int, "Grade", "int"),
        (Literal[1] | float, "Literal[1]", "float"),
        (Named | dict[str, str], "Named", "dict[str, str]"),
        (bytes | str | dict[str, str], "bytes", "dict[str, str]"),
        (Named | Loose, "Named", "Loose"),
        (Painted | Tinted, "Painted", "Tinted"),
        (Box[int] | Box[str], "Box[int]", "Box[str]"),
        (int | Annotated[float, Range(ge=0)], "int", "float"),
    ],
)
def test_members_that_are_not_distinct_are_refused_by_name(hint: Any, one: str, other: str):
    with pytest.raises(SchemaError) as caught:
        schema_of(holder_of(hint))

    assert caught.value.path == "$.f"
    assert has_facts(str(caught.value), "JSON", one, other)
    assert str(caught.value).endswith(other)
    assert caught.value.hint


def test_members_inside_lists_and_other_records_are_distinguished_too():
    with pytest.raises(SchemaError, match=r"JSON.*\bdate\b.*\bstr\b") as caught:
        schema_of(holder_of(list[Box[date | str]]))

    assert caught.value.path == "$.f[].value"


def test_two_classes_of_one_name_are_members_like_any_other():
    def other() -> Any:
        return make_dataclass("Circle", [("radius", float)])

    circle = other()
    holder = holder_of(Circle | circle)
    schema = schema_of(holder)

    assert schema.decode('{"f":{"radius":1.5}}') == holder(circle(1.5))
    assert schema.decode('{"f":{"kind":"circle","size":1}}') == holder(Circle("circle", 1.0))


@pytest.mark.parametrize(
    ("value", "path", "kind", "facts"),
    [
        ('{"kind":"circle"}', "$.f.size", "missing", ("float",)),
        ('{"kind":"oval","size":1}', "$.f.kind", "mismatch", (*TAGS, 'str "oval"')),
        ('{"kind":"dot","size":1}', "$.f.size", "unexpected", ("Dot", "kind")),
        ('{"kind":"square","size":"1"}', "$.f.size", "mismatch", ("float", 'str "1"')),
        ('{"size":1}', "$.f.kind", "missing", TAGS),
        ("7", "$.f", "mismatch", ("Circle", "Square", "Dot", "null", "int 7")),
        ('{"kind":1,"size":1}', "$.f.kind", "mismatch", (*TAGS, "int 1")),
        ('{"kind":[],"size":1}', "$.f.kind", "mismatch", (*TAGS, "list", "0")),
    ],
)
def test_an_object_that_fits_no_member_is_measured_by_the_nearest(
    value: str, path: str, kind: str, facts: tuple[str, ...]
):
    schema = schema_of(holder_of(Circle | Square | Dot | None))

    found = problems_of(lambda: schema.decode(f'{{"f":{value}}}'))

    check_problems(found, (path, kind, facts))


def test_a_tag_with_a_default_is_required_in_the_text():
    found = problems_of(lambda: schema_of(Dot).decode("{}"))

    check_problems(found, ("$.kind", "missing", ('"dot"',)))


def test_a_record_of_no_member_is_caught_before_it_is_written():
    holder = holder_of(Circle | Square)

    found = problems_of(lambda: schema_of(holder).validate(holder(Named("x"))))

    check_problems(found, ("$.f", "mismatch", ("Circle", "Square", "Named")))


class Form(Enum):
    OPEN = "open"
    SHUT = "shut"


@dataclass
class Gate:
    form: Form
    height: int


@dataclass
class Wall:
    form: Literal["solid", 3]
    length: int


@pytest.mark.parametrize(
    ("hint", "text", "path"),
    [
        (Gate | Wall, '{"form":"x"}', "$.f.form"),
        (Gate | Wall, '{"form":"x","height":1}', "$.f.form"),
        (Gate | Wall, '{"form":true,"length":1}', "$.f.form"),
        (Gate | Wall, '{"form":{"a":1}}', "$.f.form"),
        (Gate | Wall | None, "{}", "$.f.form"),
        (list[Gate | Wall | str], '["a",{"form":"x"}]', "$.f[1].form"),
        (dict[str, Gate | Wall], '{"k":{"form":"x"}}', "$.f.k.form"),
    ],
)
def test_a_wrong_tag_is_named_with_all_that_it_may_be(hint: Any, text: str, path: str):
    [problem] = problems_of(lambda: schema_of(holder_of(hint)).decode(f'{{"f":{text}}}'))

    assert problem.path == path
    assert problem.kind == ("mismatch" if '"form"' in text else "missing")
    assert has_facts(problem.message, '"open"', '"shut"', '"solid"', "3")

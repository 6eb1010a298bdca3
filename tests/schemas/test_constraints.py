"""What stands beside a type in Annotated."""

from __future__ import annotations

import math
import re
from dataclasses import make_dataclass
from decimal import Decimal
from typing import Annotated, Any

import pytest

from conduit_nb.errors import SchemaError, ValidationError
from conduit_nb.schemas import Length, Pattern, Range, schema_of
from conduit_nb.schemas.annotations import read_dataclass
from conduit_nb.schemas.constraints import MAX_EXACT, MAX_FLOAT_BOUND
from conduit_nb.schemas.shapes import Float, Int, List, Map, Null, Shape, Str, Union
from tests.schemas.records import has_facts


def shape_of(hint: Any) -> Shape:
    return read_dataclass(make_dataclass("Holder", [("f", hint)])).fields[0].shape


@pytest.mark.parametrize(
    ("hint", "shape"),
    [
        (Annotated[str, Length(1, 5)], Str(Length(1, 5))),
        (Annotated[str, Length(1), Length(max=3)], Str(Length(1, 3))),
        (Annotated[str, Pattern("a+"), Length(2)], Str(Length(2), "a+")),
        (Annotated[list[int], Length(max=2)], List(Int(), Length(0, 2))),
        (Annotated[dict[str, int], Length(2)], Map(Int(), Length(2))),
        (Annotated[int, Range(ge=1), Range(lt=5)], Int(Range(ge=1, lt=5))),
        (Annotated[int, Range(ge=1), Range(ge=3)], Int(Range(ge=3))),
        (Annotated[float, Range(gt=0, le=0.5)], Float(Range(gt=0, le=0.5))),
        (Annotated[int | None, Range(ge=1)], Union((Int(Range(ge=1)), Null()))),
        (list[Annotated[str, Length(1)]], List(Str(Length(1)))),
    ],
)
def test_constraints_narrow_the_shape(hint: Any, shape: Shape):
    assert shape_of(hint) == shape


@pytest.mark.parametrize(
    ("hint", "facts", "cure"),
    [
        (Annotated[str, Range(ge=1)], ("Range", "str"), ("Range", "int", "float")),
        (Annotated[int, Length(1)], ("Length", "int"), ("Length", "str", "list")),
        (Annotated[int, Pattern("a")], ("Pattern", "int"), ("Pattern", "str")),
        (Annotated[bool, Range(ge=0)], ("Range",), ("Range", "int", "float")),
        (Annotated[str, Pattern("a"), Pattern("b")], ("'a'", "'b'"), ()),
        (Annotated[str, Length(5, 1)], ("5", "1"), ("Length",)),
        (Annotated[str, Length(-1)], ("Length", "min=-1"), ("0",)),
        (Annotated[str, Length(max=2.5)], ("Length", "max=2.5"), ("0",)),
        (Annotated[str, Length(max=True), "a flag"], ("Length", "max=True"), ("0",)),
        (Annotated[int, Range(ge=5, le=1)], (repr(Range(ge=5, le=1)),), ()),
        (Annotated[int, Range(gt=1, lt=2)], (repr(Range(gt=1, lt=2)),), ()),
        (Annotated[float, Range(gt=1, lt=1)], (repr(Range(gt=1, lt=1)),), ()),
        (Annotated[float, Range(ge=1, lt=1)], (repr(Range(ge=1, lt=1)),), ()),
        (Annotated[int, Range(ge=0.5)], ("Range", "ge=0.5", "int"), ("int",)),
        (Annotated[int, Range(ge=2**60)], ("ge=1152921504606846976", f"{MAX_EXACT:,}"), ()),
        (Annotated[float, Range(le=1e16)], ("le=1e+16", f"{MAX_FLOAT_BOUND:,}"), ("JSON",)),
        (Annotated[float, Range(le=float("inf"))], ("le=inf", "float"), ("int", "float")),
        (Annotated[float, Range(le=0.1 + 0.2)], ("le=0.30000000000000004",), ("15",)),
        (Annotated[float, Range(ge=1e-20)], ("ge=1e-20",), ("15",)),
        (Annotated[int | str, Range(ge=1)], ("Range",), ("Annotated[int, Range(ge=1)] | str",)),
        (Annotated[str, object()], ("object", "Annotated"), ("Length(min, max)",)),
        (Annotated[str, 80], ("int", "Annotated"), ("Length(min, max)",)),
    ],
)
def test_constraints_that_cannot_be_meant_are_refused(
    hint: Any, facts: tuple[str, ...], cure: tuple[str, ...]
):
    with pytest.raises(SchemaError) as caught:
        shape_of(hint)

    assert caught.value.path == "$.f"
    assert has_facts(str(caught.value), *facts)
    assert caught.value.hint
    assert has_facts(caught.value.hint, *cure)


def test_bounds_of_a_range_may_meet():
    holder = make_dataclass("Holder", [("f", Annotated[float, Range(ge=2, le=2)])])

    assert schema_of(holder).encode(holder(2.0)) == '{"f":2}'


def test_objects_of_annotated_types_mean_the_same():
    at = pytest.importorskip("annotated_types")

    assert shape_of(Annotated[int, at.Ge(1), at.Lt(5)]) == Int(Range(ge=1, lt=5))
    assert shape_of(Annotated[float, at.Interval(gt=0, le=1)]) == Float(Range(gt=0, le=1))
    assert shape_of(Annotated[str, at.MinLen(1)]) == Str(Length(1))
    assert shape_of(Annotated[str, at.Len(1, 4)]) == Str(Length(1, 4))
    assert shape_of(Annotated[list[int], at.MaxLen(4)]) == List(Int(), Length(0, 4))
    with pytest.raises(SchemaError, match=r"\bMultipleOf\b.*\bAnnotated\b"):
        shape_of(Annotated[int, at.MultipleOf(2)])


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (Annotated[str, Length(1, 2)], ["a", "😀😀"], ["", "abc"]),
        (Annotated[list[int], Length(1, 2)], [[1], [1, 2]], [[], [1, 2, 3]]),
        (Annotated[dict[str, int], Length(1)], [{"a": 1}], [{}]),
        (Annotated[int, Range(gt=1, le=3)], [2, 3], [1, 4]),
        (Annotated[float, Range(ge=1, lt=3)], [1, 2.9], [0.9, 3, 3.0]),
        (Annotated[str, Pattern("[a-c]+")], ["abc"], ["", "abd", "abc\n", "xabc"]),
    ],
)
def test_constraints_hold_in_both_directions(hint: Any, good: list[Any], bad: list[Any]):
    holder = make_dataclass("Holder", [("f", hint)])
    schema = schema_of(holder)

    for value in good:
        assert schema.decode(schema.encode(holder(value))) == holder(value)
    for value in bad:
        with pytest.raises(ValidationError):
            schema.encode(holder(value))
        with pytest.raises(ValidationError):
            schema.from_jsonable({"f": value})


@pytest.mark.parametrize(
    ("hint", "facts"),
    [
        (Annotated[str, Pattern(re.compile("a+"))], ("Pattern", "Pattern", "str")),
        (Annotated[str, Pattern(re.compile(b"a"))], ("Pattern", "Pattern", "str")),
        (Annotated[str, Pattern(b"x")], ("Pattern", "bytes", "str")),
        (Annotated[str, Pattern(None)], ("Pattern", "NoneType", "str")),
        (Annotated[str, Pattern(["a"])], ("Pattern", "list", "str")),
        (Annotated[list[Annotated[str, Pattern(3)]], Length(1)], ("Pattern", "int", "str")),
        (Annotated[str, Length("3")], ("Length", "min='3'")),
        (Annotated[str, Length(0, "3")], ("Length", "max='3'")),
        (Annotated[str, Length(None)], ("Length", "min=None")),
        (Annotated[str, Length(1.0)], ("Length", "min=1.0")),
        (Annotated[str, Length(True)], ("Length", "min=True")),
        (Annotated[int, Range(ge="1")], ("Range", "ge='1'")),
        (Annotated[int, Range(ge=True)], ("Range", "ge=True")),
        (Annotated[float, Range(lt=math.nan)], ("Range", "lt=nan")),
        (Annotated[float, Range(le=math.inf)], ("Range", "le=inf")),
        (Annotated[float, Range(ge=Decimal(1))], ("Range", "ge=Decimal('1')")),
        (Annotated[float, Range(ge=[1])], ("Range", "ge=[1]")),
        (Annotated[int, Range], ("Range", "Annotated", "class")),
        (Annotated[str, Length], ("Length", "Annotated", "class")),
    ],
)
def test_a_constraint_of_the_wrong_type_is_refused_with_its_place(
    hint: Any, facts: tuple[str, ...]
):
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]))

    assert has_facts(str(caught.value), *facts)
    assert caught.value.path.startswith("$.f")
    assert caught.value.hint


def test_the_cure_for_a_compiled_expression_is_its_text():
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", Annotated[str, Pattern(re.compile("a+"))])]))

    assert "Pattern('a+')" in caught.value.hint


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[str, Pattern("a{5}"), Length(max=3)],
        Annotated[str, Length(max=3), Pattern("a{5}")],
        Annotated[str, Pattern("a{2}"), Length(3)],
        Annotated[str, Pattern("(ab)*"), Length(3, 3)],
        Annotated[str | None, Pattern("[0-9]{4}"), Length(5)],
        Annotated[str, Pattern("abc|abcde"), Length(4, 4)],
        Annotated[str, Length(10**9)],
        Annotated[list[int], Length(10**9)],
        Annotated[dict[str, int], Length(10**9)],
        Annotated[list[int], Length(0, 10**30)],
        Annotated[list[int], Length(5, 2)],
        Annotated[Annotated[list[int], Length(5)], Length(max=2)],
        Annotated[int, Range(gt=1, lt=2)],
        Annotated[int, Range(ge=5, le=1)],
        Annotated[int, Range(ge=5), Range(lt=5)],
        Annotated[float, Range(gt=1, lt=1)],
        Annotated[float, Range(ge=1.5, le=1.25)],
    ],
)
def test_what_no_value_can_meet_is_refused(hint: Any):
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]))

    assert caught.value.path == "$.f"


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[str, Pattern("a*"), Length(5, 5)],
        Annotated[str, Pattern("(ab)*"), Length(3, 4)],
        Annotated[str, Pattern("a{3}"), Length(max=3)],
        Annotated[str, Pattern("a+"), Length(5_000)],
        Annotated[list[int], Length(1_000)],
        Annotated[list[int], Length(max=10**9)],
        Annotated[int, Range(gt=1, lt=3)],
        Annotated[float, Range(gt=1, lt=2)],
    ],
)
def test_what_some_value_meets_is_taken(hint: Any):
    schema_of(make_dataclass("Holder", [("f", hint)]))


def test_a_corrected_bound_is_not_mistaken_for_the_wrong_one():
    wrong = Annotated[int, Range(ge=1.0)]
    with pytest.raises(SchemaError):
        schema_of(make_dataclass("Holder", [("f", wrong)]))

    schema = schema_of(make_dataclass("Holder", [("f", Annotated[int, Range(ge=1)])]))

    assert "int(>=1)" in schema.mdl
    assert Range(ge=1) == Range(ge=1)
    assert Length(1) != Length(True)

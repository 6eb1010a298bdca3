"""JSON Schema, the grammar made from it, and the listed differences to `decode`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from jsonschema import Draft202012Validator

from conduit_nb.errors import ValidationError
from conduit_nb.schemas import Length, Pattern, Range, json_schema, schema_of
from tests.schemas.records import ExpectedProblem, check_problems, problems_of

T = TypeVar("T")


class Status(Enum):
    NEW = "new"
    LOST = 3


class Rate(Enum):
    HALF = 0.5
    TINY = 1e-7
    TWO = 2.0
    HUGE = 1e12


@dataclass
class Item:
    sku: str
    price: float = 1.0


@dataclass
class Node:
    value: int
    next: Node | None = None


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Empty:
    pass


@dataclass
class Even:
    x: int

    def __post_init__(self) -> None:
        if self.x % 2:
            raise ValueError("x is odd")


def schema_for(hint: Any) -> dict[str, Any]:
    return json_schema(holder_of(hint))["properties"]["f"]


def holder_of(hint: Any) -> Any:
    return make_dataclass("Holder", [("f", hint)])


def accepts(cls: type[Any], text: str) -> bool:
    return pytest.importorskip("tests.schemas.grammar").is_accepted(json_schema(cls), text)


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Status, {"enum": ["new", 3]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (
            Annotated[str, Length(1, 5), Pattern("a+")],
            {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^(?:a+)$"},
        ),
        (
            Annotated[int, Range(ge=1, lt=5)],
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
        ),
        (
            Annotated[list[int], Length(1, 2)],
            {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ),
        (
            Annotated[dict[str, int], Length(1, 2)],
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "minProperties": 1,
                "maxProperties": 2,
            },
        ),
        (Annotated[str, "about it"], {"type": "string"}),
    ],
)
def test_each_type_has_its_json_schema(hint: Any, schema: dict[str, Any]):
    assert schema_for(hint) == schema


def test_objects_are_closed_and_keep_the_order_of_their_keys():
    @dataclass
    class Order:
        zeta: int
        alpha: Item
        note: str = ""
        tag: Literal["order"] = "order"

    schema = json_schema(Order)

    assert list(schema["properties"]) == ["zeta", "alpha", "note", "tag"]
    assert schema["required"] == ["zeta", "alpha", "tag"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["alpha"]["additionalProperties"] is False


def test_types_that_are_used_twice_stand_under_defs_and_recursion_points_to_them():
    holder = make_dataclass("Holder", [("a", Item), ("b", Item), ("n", Node), ("o", Page[int])])

    schema = json_schema(holder)

    assert list(schema["$defs"]) == ["Item", "Node"]
    assert schema["properties"]["a"] == {"$ref": "#/$defs/Item"}
    assert schema["$defs"]["Node"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/Node"}
    assert schema["properties"]["o"]["type"] == "object"


def test_a_recursive_root_points_to_itself():
    schema = json_schema(Node)

    assert schema["properties"]["next"]["anyOf"][0] == {"$ref": "#"}
    assert "$defs" not in schema


def test_two_classes_of_one_name_have_definitions_of_their_own():
    other = make_dataclass("Item", [("weight", float)])
    holder = make_dataclass("Holder", [("a", Item), ("b", Item), ("c", other), ("d", list[other])])

    schema = json_schema(holder)

    assert list(schema["$defs"]) == ["Item", "Item_2"]
    assert schema["$defs"]["Item_2"]["required"] == ["weight"]


def test_it_has_no_keyword_that_grammar_engines_stumble_over():
    @dataclass
    class All:
        """Has a docstring."""

        a: Annotated[str, "described"] | int | None
        b: list[Node]
        c: Item | Page[int]
        d: datetime = field(default_factory=datetime.now)

    text = json.dumps(json_schema(All))

    for keyword in ("oneOf", "title", "description", "default", "allOf", "not"):
        assert f'"{keyword}"' not in text


def test_the_caller_owns_what_it_gets():
    json_schema(Item)["properties"].clear()

    assert json_schema(Item)["properties"]


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Node, '{"value":1,"next":{"value":2,"next":null}}'),
        (Node, '{"value":1}'),
        (Empty, "{}"),
        (Page[Item], '{"items":[{"sku":"a"},{"sku":"b","price":0.5}]}'),
        (Page[Status], '{"items":["new",3]}'),
        (Page[Rate], '{"items":[0.5,0.0000001,2,1000000000000]}'),
        (Page[str | bytes], '{"items":["x",{"base64":"QUI="}]}'),
        (Page[Literal["é\n\x7f/"]], '{"items":["é\\n\\u007f/"]}'),
        (Page[date], '{"items":["2024-02-29"]}'),
        (Page[datetime], '{"items":["2024-02-29T23:59:59.123456+05:30","2024-01-01T00:00:00Z"]}'),
    ],
)
def test_grammar_and_decode_accept_the_same_text(cls: Any, text: str):
    schema = schema_of(cls)

    assert accepts(cls, text)
    assert list(Draft202012Validator(schema.json_schema).iter_errors(json.loads(text))) == []
    assert schema.decode(text)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (date, '{"f":"2024-02-30"}'),
        (date, '{"f":"2023-02-29"}'),
        (date, '{"f":"0000-01-01"}'),
        (datetime, '{"f":"2024-01-01T00:00:00"}'),
        (datetime, '{"f":"2024-01-01T23:59:60Z"}'),
        (datetime, '{"f":"2024-01-01T00:00:00.1234567Z"}'),
        (datetime, '{"f":"2024-01-01T00:00:00+24:00"}'),
        (str, '{"f":"\\ud800"}'),
        (int, '{"f":1.0}'),
        (int, '{"f":true}'),
        (bool, '{"f":1}'),
        (float, '{"f":NaN}'),
        (float, '{"f":Infinity}'),
        (Status, '{"f":"old"}'),
        (str, '{"f":null}'),
        (str, '{"f":"x","g":1}'),
        (str, '{"f":"x","f":"y"}'),
        (str, "{}"),
        (Annotated[list[int], Length(1, 2)], '{"f":[]}'),
        (Annotated[list[int], Length(1, 2)], '{"f":[1,2,3]}'),
        (Annotated[dict[str, int], Length(2)], '{"f":{"a":1}}'),
        (Annotated[str, Length(1, 2)], '{"f":"abc"}'),
        (Annotated[str, Pattern("a+")], '{"f":"ab"}'),
        (Annotated[int, Range(ge=1, le=5)], '{"f":6}'),
        (Annotated[float, Range(gt=0.5)], '{"f":0.4}'),
    ],
)
def test_what_is_closed_in_the_grammar_is_refused_by_decode_too(hint: Any, text: str):
    cls = holder_of(hint)

    assert not accepts(cls, text)
    with pytest.raises(ValidationError):
        schema_of(cls).decode(text)


# The list in the docstring of conduit_nb.schemas.json_schema, one by one: what a model can still
# write, and `decode` refuses as that row's error.
@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (float, '{"f":1e999}', ("$.f", "mismatch", ("float", "float inf"))),
        (float, '{"f":-1e999}', ("$.f", "mismatch", ("float", "float -inf"))),
        (float, f'{{"f":1{"0" * 400}}}', ("$.f", "mismatch", ("float", "int", "400"))),
        (
            Annotated[float, Range(gt=0)],
            f'{{"f":0.{"0" * 400}1}}',
            ("$.f", "mismatch", ("float >0", "float 0.0")),
        ),
        (
            Annotated[float, Range(gt=4, le=4.25)],
            '{"f":4}',
            ("$.f", "mismatch", ("float >4 <=4.25", "int 4")),
        ),
        (int, f'{{"f":{"9" * 4301}}}', ("$.f", "not_json", ("number out of range",))),
        (dict[str, int], '{"f":{"a":1,"a":2}}', ("$.f.a", "duplicate_key", ())),
        (
            Annotated[dict[str, int], Length(2)],
            '{"f":{"a":1,"a":2}}',
            ("$.f", "mismatch", ("object", "2..", "object", "a")),
        ),
        (Even, '{"f":{"x":1}}', ("$.f", "raised", ("Even", "ValueError: x is odd"))),
        (
            Node,
            '{"f":' + '{"value":1,"next":' * 202 + "null" + "}" * 203,
            ("$", "not_json", ("recursion limit exceeded",)),
        ),
    ],
)
def test_each_listed_difference_is_an_error_of_the_row(
    hint: Any, text: str, expected: ExpectedProblem
):
    cls = holder_of(hint)

    assert accepts(cls, text)
    first, *_ = problems_of(schema_of(cls).decode, text)
    check_problems([first], expected)

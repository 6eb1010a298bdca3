"""schemas/foreign.py: what other libraries write is served, and means the same or less."""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import json
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.closing import FORMATS, Completer
from conduit_nb.schemas.foreign import KEPT, UNSERVED, patterns, servable
from conduit_nb.schemas.patterns import anchored

TEXT = {"type": "string"}


ANY_LENGTH = {"minLength": 1, "maxLength": 2**31 - 1}
ENDLESS_LIST = {"type": "array", "items": {"$ref": "#"}}
NUMBERED = {"type": "number"}


def tagged(tag: str) -> dict[str, Any]:
    """Return the schema of an object that one of its properties tells from others."""
    properties = {"kind": {"type": "string", "const": tag}}
    required = {"required": ["kind"], "additionalProperties": False}
    return {"type": "object", "properties": properties, **required}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Simple(pydantic.BaseModel):
    """A record with everything that people document."""

    model_config = {"json_schema_extra": {"examples": [{"name": "Ann"}]}}

    name: str = pydantic.Field(description="Whose", title="Name", examples=["Ann"])
    age: int | None = pydantic.Field(default=None, ge=0, le=150, deprecated=True)
    colour: Colour = Colour.RED
    mood: Literal["good", "bad"]
    code: Annotated[str, pydantic.Field(pattern="^[a-z]{2}$")]


class Tagged(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    others: list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]] = []


class Untagged(pydantic.BaseModel):
    pet: Cat | Dog | None = None


class Formats(pydantic.BaseModel):
    at: datetime.datetime
    day: datetime.date
    took: datetime.timedelta
    file: Path
    url: pydantic.HttpUrl
    id: uuid.UUID
    secret: pydantic.SecretStr
    data: bytes
    encoded: pydantic.Base64Str
    price: decimal.Decimal


class Containers(pydantic.BaseModel):
    pair: tuple[str, int]
    many: tuple[int, ...]
    points: Annotated[list[tuple[float, float]], pydantic.Field(min_length=1, max_length=3)]
    counts: dict[str, int]
    by_colour: dict[Colour, int]
    by_code: dict[Annotated[str, pydantic.Field(pattern="^[a-z]+$")], str]
    anything: Any
    open_record: dict[str, Any]


class Tree(pydantic.BaseModel):
    value: int
    children: list[Tree] = []
    parent: Tree | None = None


class Closed(pydantic.BaseModel):
    model_config = {"extra": "forbid"}
    name: str


class Open(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    name: str


@pytest.mark.parametrize(
    "model",
    [Simple, Tagged, Untagged, Formats, Containers, Tree, Closed, Open],
    ids=lambda model: model.__name__,
)
def test_what_pydantic_writes_can_be_closed_to_a_record_of_the_model(model: Any):
    schema = model.model_json_schema()

    served = servable(schema)

    shortest = Completer(served).shortest if model not in (Containers, Formats) else None
    if shortest is not None:
        model.model_validate_json(shortest)
        jsonschema.validate(json.loads(shortest), schema)


@pytest.mark.parametrize(
    "annotation",
    [
        {"title": "T", "description": "d", "default": "x", "examples": ["x"], "example": "x"},
        {"deprecated": True, "readOnly": True, "writeOnly": False, "$comment": "c"},
        {"contentEncoding": "base64", "contentMediaType": "text/plain"},
        {"format": "path"},
        {"format": "phone"},
        {"format": "binary"},
        {"format": "int32"},
        {"format": 5},
        {"nullable": True, "x-order": 1, "xml": {"name": "a"}, "externalDocs": {"url": "u"}},
        {"uniqueItems": False},
        {"enumNames": ["a"], "propertyOrdering": ["a"], "errorMessage": {"type": "no"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://a.b/c"},
        {"then": {"minLength": 3}},
    ],
    ids=str,
)
def test_an_annotation_is_left_out_wherever_it_stands(annotation: dict[str, Any]):
    inner = {**TEXT, **annotation}
    schema = {
        "type": "object",
        "properties": {"a": inner, "b": {"type": "array", "items": inner}},
        "required": ["a"],
        **annotation,
    }

    served = servable(schema)

    assert served == {
        "type": "object",
        "properties": {"a": TEXT, "b": {"type": "array", "items": TEXT}},
        "required": ["a"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "name", ["title", "default", "format", "const", "enum", "$ref", "properties", "items", "not"]
)
def test_a_property_may_be_called_like_a_keyword(name: str):
    schema = {"type": "object", "properties": {name: TEXT}, "required": [name]}

    assert servable(schema)["properties"] == {name: TEXT}


@pytest.mark.parametrize("form", ["duration", "email", "uuid", "ipv4", "ipv6", "uri"])
def test_a_known_format_is_kept(form: str):
    assert servable({**TEXT, "format": form}) == {**TEXT, "format": form}


@pytest.mark.parametrize("form", ["date-time", "date", "time"])
def test_a_time_is_one_that_clients_read(form: str):
    served = servable({**TEXT, "format": form, "maxLength": 40})

    assert served == {**TEXT, "maxLength": 40, "pattern": anchored(FORMATS[form])}


@pytest.mark.parametrize("keyword", sorted(KEPT - {"const", "type"}))
def test_a_keyword_that_is_null_says_nothing(keyword: str):
    assert servable({**TEXT, keyword: None}) == TEXT


ORDERS = [list(one) for count in range(3) for one in itertools.permutations("ab", count)]


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"items": {"enum": ["a", "b"]}}, ORDERS),
        ({"items": {"enum": ["a", "b"]}, "minItems": 1}, ORDERS[1:]),
        ({"items": {"enum": ["a", "b"]}, "maxItems": 1}, ORDERS[:3]),
        ({"items": {"$ref": "#/$defs/E"}, "$defs": {"E": {**TEXT, "enum": ["a", "b"]}}}, ORDERS),
        ({"items": {"const": "a", "title": "A"}}, [[], ["a"]]),
        ({"items": {"type": "boolean"}, "minItems": 2}, [[False, True], [True, False]]),
        (
            {"items": {"type": "integer", "enum": list(range(8))}, "minItems": 7},
            [[n for n in range(8) if n != gone] for gone in (*range(7, -1, -1), None)],
        ),
    ],
    ids=str,
)
def test_items_that_differ_are_served_where_they_are_a_few(schema: Any, values: Any):
    whole = {"type": "array", "uniqueItems": True, **schema}

    served = servable(whole)

    assert "uniqueItems" not in served
    if "anyOf" in served:
        listed = [[item["const"] for item in one.get("prefixItems", [])] for one in served["anyOf"]]
        assert sorted(listed) == sorted(values)
    for value in values:
        jsonschema.validate(value, whole)
        jsonschema.validate(value, {**schema, **served})


@pytest.mark.parametrize(
    "items",
    [TEXT, {"enum": [1.5, 2.5]}, {"enum": list("abcdefgh")}, {"$ref": "#/items"}, {}],
    ids=str,
)
def test_items_that_differ_stay_unserved_where_they_are_many(items: Any):
    assert servable({"type": "array", "items": items, "uniqueItems": True})["uniqueItems"]


@pytest.mark.parametrize(
    ("schema", "served"),
    [
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": TEXT}}, {"$ref": "#/$defs/a"}),
        ({"anyOf": [TEXT], "description": "x"}, TEXT),
        (
            {"type": "array", "items": [TEXT, TEXT], "additionalItems": False},
            {"type": "array", "prefixItems": [TEXT, TEXT], "items": False},
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            {"type": "integer", "exclusiveMinimum": 0},
        ),
        (
            {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": TEXT},
            {
                "type": "object",
                "properties": {"a": TEXT, "b": TEXT},
                "additionalProperties": False,
            },
        ),
        (
            {"anyOf": [{"type": "number"}, {**TEXT, "pattern": "^(?!-)"}]},
            {"type": "number"},
        ),
        (
            {"type": "object", "propertyNames": {"format": "uuid"}, "additionalProperties": TEXT},
            {
                "type": "object",
                "patternProperties": {anchored(FORMATS["uuid"]): TEXT},
                "additionalProperties": False,
            },
        ),
        (
            {"type": "object", "propertyNames": {**TEXT, "minLength": 1, "maxLength": 9}},
            {
                "type": "object",
                "patternProperties": {r"^(?:(?:.|\n){1,9})$": True},
                "additionalProperties": False,
            },
        ),
        (
            {**TEXT, "format": "email", "pattern": r"^(?!\.)(?!.*\.\.)[a-z.]*@a\.b$"},
            {**TEXT, "format": "email", "pattern": r"^[a-z.]*@a\.b$"},
        ),
        (
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            {"type": "integer", "minimum": -(2**62), "maximum": 2**63 - 1},
        ),
        ({"type": "number", "maximum": 1e308}, {"type": "number", "maximum": 10**18}),
        ({"properties": {}}, {"type": "object", "properties": {}}),
        ({**TEXT, "minLength": 1.0, "maxLength": 2**53 - 1}, {**TEXT, **ANY_LENGTH}),
        ({"$id": "T0", "type": "array", "items": {"$ref": "T0"}}, ENDLESS_LIST),
        ({"$id": "T0", "type": "array", "items": {"$ref": "T0#"}}, ENDLESS_LIST),
        ({"oneOf": [NUMBERED, {"type": "null"}]}, {"anyOf": [NUMBERED, {"type": "null"}]}),
        ({"oneOf": [tagged("a"), tagged("b")]}, {"anyOf": [tagged("a"), tagged("b")]}),
        ({"oneOf": [tagged("a"), tagged("a")]}, {"oneOf": [tagged("a"), tagged("a")]}),
        ({"oneOf": [{"type": "integer"}, NUMBERED]}, {"oneOf": [{"type": "integer"}, NUMBERED]}),
        ({"items": TEXT}, {"type": "array", "items": TEXT}),
        ({"enum": ["a"], "items": TEXT}, {"enum": ["a"], "items": TEXT}),
        ({**TEXT, "required": True}, TEXT),
        ({}, {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_form_that_grammars_do_not_take_is_written_in_one_that_they_do(schema: Any, served: Any):
    result = servable(schema)
    result.pop("$defs", None)

    assert result == served


@pytest.mark.parametrize(
    "extra",
    [{"additionalProperties": True}, {"additionalProperties": TEXT}, {"required": ["other"]}],
    ids=str,
)
def test_an_object_that_speaks_of_other_properties_stays_as_it_is(extra: dict[str, Any]):
    schema = {"type": "object", "properties": {"a": TEXT}, **extra}

    assert servable(schema) == schema


def test_parts_of_an_object_that_are_merged_are_not_closed():
    base = {"type": "object", "properties": {"a": TEXT}}
    schema = {"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": TEXT}}]}

    assert servable({**schema, "$defs": {"base": base}})["$defs"]["base"] == base


def test_key_names_that_refer_to_themselves_say_nothing():
    schema = {"type": "object", "propertyNames": {"$ref": "#/$defs/a"}}

    served = servable({**schema, "$defs": {"a": {"$ref": "#/$defs/a"}}})

    assert "propertyNames" not in served


def test_key_names_that_no_pattern_says_are_not_dropped():
    names = {"pattern": "^[a-z]+$", "maxLength": 3}

    assert servable({"type": "object", "propertyNames": names})["propertyNames"] == names


def test_members_without_number_are_not_compared_with_each_other():
    members = [tagged(f"kind {number}") for number in range(5_000)]

    assert servable({"oneOf": members}) == {"oneOf": members}


def test_sets_are_served_as_long_as_they_are_a_few_together():
    days = {"type": "array", "items": {"enum": list("abcd")}, "uniqueItems": True}
    schema = {"type": "object", "properties": {str(number): days for number in range(30)}}

    served = servable(schema)["properties"].values()

    assert 5 < sum("uniqueItems" not in one for one in served) < 30


def test_definitions_may_stand_under_any_name():
    schema = {"$ref": "#/components/schemas/A", "components": {"schemas": {"A": TEXT}}}

    assert servable(schema)["components"] == {"schemas": {"A": TEXT}}


@pytest.mark.parametrize(
    ("schema", "path", "fact", "cure"),
    [
        ({"$ref": "#"}, "$", "JSON Schema", "null"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            "$",
            "JSON Schema",
            "null",
        ),
        ({"type": "object", "properties": {"a": 5}}, "$.a", "5", ""),
        ({"type": "object", "properties": {str(n): TEXT for n in range(501)}}, "$", "501", ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_served_is_refused_with_its_reason(
    schema: dict[str, Any], path: str, fact: str, cure: str
):
    with pytest.raises(SchemaError, match=rf"\b{fact}\b") as caught:
        servable(schema)

    assert caught.value.path == path
    assert cure in caught.value.hint


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["#", "#/a"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({*KEPT, *UNSERVED, "discriminator", "propertyName", "a"})),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(schema=st.dictionaries(st.sampled_from(sorted({*KEPT, *UNSERVED, "a"})), VALUES, max_size=5))
@settings(deadline=None, max_examples=150)
def test_what_is_no_schema_at_all_is_refused_or_brought_into_form(schema: dict[str, Any]):
    try:
        served = servable(schema)
    except SchemaError:
        return
    assert all(isinstance(pattern, str) for pattern in patterns(served))
    assert json.loads(json.dumps(served)) == served

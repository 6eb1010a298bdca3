"""schemas/closing.py: how JSON that was cut is ended, by the keywords of its schema."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, make_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import schema_of
from conduit_nb.schemas.closing import Completer, shortest_record, to_nodes
from conduit_nb.schemas.nodes import NumberNode, ObjectNode, OptionsNode, TextNode
from conduit_nb.schemas.reader import JsonReader
from conduit_nb.schemas.shapes import Length, Pattern, Range
from tests.schemas.records import Files
from tests.schemas.strategies import DATACLASSES, Typed
from tests.schemas.test_properties import is_listed_difference, problems_of


def closed(completer: Completer, written: bytes) -> bytes | None:
    """Return `written`, which may end in the middle of a character, with its end."""
    whole = written.decode(errors="ignore").encode()
    reader = JsonReader()
    reader.feed(whole.decode())
    closing = completer.closing_of(reader, written[len(whole) :])
    if closing is None:
        return None
    assert len(closing) <= completer.most_bytes(reader)
    return written + closing


@given(DATACLASSES, st.integers(0, 2**32))
def test_a_text_of_the_grammar_cut_anywhere_is_closed_to_a_record_of_it(kind: Typed, seed: int):
    grammar = pytest.importorskip("tests.schemas.grammar")
    schema = schema_of(kind.hint)
    json_schema = schema.json_schema
    completer = Completer(json_schema)
    text = grammar.sampled(json_schema, seed)
    assume(text is not None)
    written = text.encode()
    problems = problems_of(schema, text)
    if {one.kind for one in problems} == {"duplicate_key"}:
        for cut in {0, len(text), *random.Random(seed).sample(range(len(text)), 3)}:
            assert schema.close(text[:cut]) is not None
    assume(written and not problems)
    validator = Draft202012Validator(json_schema)
    matcher = grammar.matcher(json_schema)

    note(schema.mdl)
    note(text)
    some = set(random.Random(seed).sample(range(len(written) + 1), min(len(written) + 1, 80)))
    for cut in range(len(written) + 1):
        if cut not in some:
            assert cut == len(written) or matcher.consume_token(written[cut])
            continue
        whole = closed(completer, written[:cut])
        note(f"{written[:cut]} {whole}")
        assert whole is not None
        rest = list(whole[cut:])
        checked = matcher.deep_copy()
        assert checked.try_consume_tokens(rest) == len(rest)
        assert checked.is_accepting()
        assert list(validator.iter_errors(json.loads(whole))) == []
        problems = problems_of(schema, whole.decode())
        assert all(map(is_listed_difference, problems)), problems
        assert cut == len(written) or matcher.consume_token(written[cut])


class Kind(Enum):
    A = "a"
    LONG = "a long one"


@dataclass
class Leaf:
    table: dict[str, int]
    text: str = ""


REPEATED: list[tuple[Any, str]] = [
    (dict[str, int], '{"a":1,"a":-2,"b":3,"a":40}'),
    (dict[str, int], '{"":1,"":2}'),
    (dict[str, int], '{"a\\nb":1,"a\\nb":2,"a\\\\":1}'),
    (dict[str, int], '{"\u00e9":1,"\U0001f600":2,"\u00e9":3,"\U0001f600":4}'),
    (Annotated[dict[str, int], Length(2, 3)], '{"a":1,"a":2,"b":3}'),
    (Annotated[dict[str, int], Length(max=2)], '{"a":1,"a":2}'),
    (dict[str, int] | None, '{"a":1,"a":2}'),
    (list[dict[str, int]], '[{"a":1,"a":2},{"a":3},{"b":1,"b":2}]'),
    (dict[str, dict[str, bool]], '{"a":{"b":true,"b":false},"a":{"c":true,"c":false}}'),
    (dict[str, list[dict[str, int | None]]], '{"a":[{"b":1,"b":null}],"a":[{}]}'),
    (dict[str, Leaf], '{"a":{"table":{"x":1,"x":2},"text":"y"},"a":{"table":{}}}'),
    (Leaf | int, '{"table":{"x":1,"x":2},"text":"y"}'),
    (dict[str, Kind], '{"a":"a","a":"a long one"}'),
    (dict[str, Literal["yes", 3, True]], '{"a":"yes","a":3,"a":true}'),
    (dict[str, date | int], '{"a":"2024-02-29","a":"2023-01-31"}'),
    (dict[str, datetime], '{"a":"2024-02-29T00:00:00+00:00","a":"2023-01-31T00:00:00.5+01:00"}'),
    (dict[str, Annotated[str, Pattern("[A-Z]{3}-[0-9]+")]], '{"a":"ABC-1","a":"XYZ-22"}'),
    (dict[str, Annotated[list[str], Length(2)]], '{"a":["x","y"],"a":["z","","z"]}'),
    (dict[str, Annotated[float, Range(gt=0.5, lt=0.75)]], '{"a":0.51,"a":0.7}'),
    (dict[str, str | int | None], '{"a":"x","a":5,"a":null}'),
]


@pytest.mark.parametrize(("hint", "value"), REPEATED)
def test_a_text_in_which_keys_stand_twice_is_closed_wherever_it_is_cut(hint: Any, value: str):
    holder = make_dataclass("Holder", [("f", hint), ("end", bool)])
    schema = schema_of(holder)
    text = f'{{"f":{value},"end":true}}'

    whole = schema.close(text)
    assert whole is not None
    assert json.loads(schema.encode(whole)) == first_ones(text)
    for cut in range(len(text)):
        record = schema.close(text[:cut])
        assert record is not None, text[:cut]
        schema.validate(record)


@pytest.mark.parametrize("length", [Length(2), Length(2, 2), Length(3, 9)])
def test_where_the_first_values_are_too_few_the_others_get_keys_of_their_own(length: Length):
    holder = make_dataclass("Holder", [("f", Annotated[dict[str, int], length]), ("end", bool)])
    schema = schema_of(holder)
    value = '{"a":1,"a":2,"a":3}' if length.min == 3 else '{"a":1,"a":2}'
    text = f'{{"f":{value},"end":true}}'

    for cut in range(len(text) + 1):
        record: Any = schema.close(text[:cut])
        assert record is not None, text[:cut]
        assert cut < 15 or record.f["a"] == 1


@pytest.mark.parametrize(
    ("number", "kind"),
    [("7.6e8", "Free"), ("7.6e", "Free"), ("7", "Bounded"), ("7.5", "Bounded")],
)
def test_a_number_that_only_one_member_of_a_union_is_written_with_tells_it(number: str, kind: str):
    bounded = make_dataclass("Bounded", [("value", Annotated[float, Range(ge=-1)]), ("a", int)])
    free = make_dataclass("Free", [("value", float), ("bb", int)])
    schema = schema_of(make_dataclass("Holder", [("f", bounded | free)]))

    for end in ("", "1,"):
        record: Any = schema.close(f'{{"f":{{"value":{number}{end}')
        assert type(record.f).__name__ == kind


def first_ones(text: str) -> Any:
    """Read JSON; of each key in an object the first value."""
    return json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


@given(DATACLASSES)
def test_the_shortest_record_is_one(kind: Typed):
    schema = schema_of(kind.hint)

    shortest = Completer(schema.json_schema).shortest

    schema.decode(shortest)
    Draft202012Validator(schema.json_schema).validate(json.loads(shortest))


@pytest.mark.parametrize(
    ("json_schema", "text", "closing"),
    [
        ({"type": "object"}, '{"a": [1, {"b', '":0}]}'),
        ({"type": "object"}, '{"a": tr', "ue}"),
        ({"type": "object"}, '{"a":1,"a', '1":0}'),
        ({"type": "object"}, '{"a":1,"a"', ":0}"),
        ({"type": "object", "minProperties": 3}, '{"a":1,"a":2', ',"":0,"1":0}'),
        ({"type": "object", "maxProperties": 2}, '{"a":1,"a":', "0}"),
        ({"type": "object", "additionalProperties": {"type": "null"}}, '{"a":null,"a":n', "ull}"),
        ({"type": "string", "minLength": 3}, '"a\\', 'n."'),
        ({"type": "string", "minLength": 3}, '"\\ud83d', '\\udc00.."'),
        ({"type": "string", "pattern": "b+$"}, '"a', 'b"'),
        ({"type": "string", "format": "uuid"}, '"00000000-0000-0000-0000-00000000000', 'a"'),
        ({"type": ["string", "null"]}, "n", "ull"),
        ({"const": "a\fb"}, '"a\\u00', '0cb"'),
        ({"enum": ["red", "green"]}, '"g', 'reen"'),
        ({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, "[t", "rue,true]"),
        (
            {"type": "array", "prefixItems": [{"const": 1}], "items": False, "minItems": 1},
            "[",
            "1]",
        ),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, "-", "1"),
        ({"type": "object", "required": ["b"], "properties": {"b": {}}}, '{"a":1', ',"b":0}'),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, "n", "ull"),
        ({"anyOf": [{"type": "array", "items": {"const": 1}}, {"type": "array"}]}, "[2,", "0]"),
    ],
)
def test_schemas_of_others_are_closed_too(json_schema: Any, text: str, closing: str):
    found = Completer(json_schema).closing(text)

    assert found == closing
    Draft202012Validator(json_schema).validate(json.loads(text + found))


@pytest.mark.parametrize("text", ['{"files":[{"nam_', '{"files":{', "[", '{"files":[]}}', "{'"])
def test_a_text_that_cannot_become_a_record_is_not_closed(text: str):
    assert Completer(schema_of(Files).json_schema).closing(text) is None


@pytest.mark.parametrize(
    ("json_schema", "at_fault"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "format": "phone"}, "phone"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
        ({"type": "string", "pattern": "(?:a{1000}){1000}"}, "pattern"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"$ref": "other.json"}, "other.json"),
        ({"enum": [[1]]}, "enum"),
        ({"not": {}}, "'not'"),
        ({"type": "shape"}, "shape"),
        ({"type": "string", "minLength": "1"}, "minLength"),
        ({"type": "number", "minimum": True}, "minimum"),
    ],
)
def test_a_schema_with_a_keyword_that_is_not_known_is_refused(json_schema: Any, at_fault: str):
    with pytest.raises(SchemaError, match=at_fault):
        Completer(json_schema)


ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}


@pytest.mark.parametrize("json_schema", [False, ENDLESS])
@pytest.mark.parametrize("use", [Completer, shortest_record])
def test_a_schema_that_no_finite_value_fits_is_refused(use: Any, json_schema: Any):
    with pytest.raises(SchemaError, match="JSON Schema") as caught:
        use(json_schema)

    assert "null" in caught.value.hint


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ('{"kind":"000\\u', '{"kind":"000\\u001f"}'),
        ('{"kind":"000\\', '{"kind":"000\\u001f"}'),
        ('{"kind":"000\\u003', '{"kind":"000\\u0030"}'),  # of a writer that escapes more
        ('{"kind":"000', '{"kind":"0000"}'),
    ],
)
def test_a_begun_escape_is_that_of_a_character_that_needs_one(written: str, whole: str):
    @dataclass
    class Kind:
        kind: Literal["0000", "000\x1f"]

    assert closed(Completer(schema_of(Kind).json_schema), written.encode()) == whole.encode()


def kinds(schema: Any) -> list[str]:
    return [type(node).__name__ for node in to_nodes(schema)[0]]


@pytest.mark.parametrize(
    ("schema", "nodes"),
    [
        ({"type": "string"}, [TextNode]),
        ({"type": ["integer", "null"]}, [NumberNode, OptionsNode]),
        ({"type": ["integer", "number"]}, [NumberNode]),
        ({"anyOf": [{"type": "string"}, {"anyOf": [{"const": 1}]}]}, [TextNode, OptionsNode]),
        ({"title": "a", "description": "b", "default": 1, "enum": [1]}, [OptionsNode]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, [TextNode]),
    ],
)
def test_alternatives_stand_side_by_side(schema: Any, nodes: list[type]):
    assert kinds(schema) == [node.__name__ for node in nodes]


def test_no_keyword_at_all_is_any_value():
    assert len(kinds({})) == len(kinds({"title": "a"})) == 6


def test_a_reference_to_the_whole_is_the_same_nodes_everywhere():
    (root,), made = to_nodes(
        {"type": "object", "properties": {"next": {"$ref": "#"}, "below": {"$ref": "#"}}}
    )

    assert isinstance(root, ObjectNode)
    assert root.properties["next"] is root.properties["below"]
    assert len([node for node in made if isinstance(node, ObjectNode)]) == 3  # root, #, any


def test_what_is_beside_a_reference_is_refused():
    with pytest.raises(SchemaError, match="minLength"):
        to_nodes({"$ref": "#", "minLength": 1})

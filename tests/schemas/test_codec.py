"""Strict reading and writing: all problems at once, each with its path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest

from conduit_nb.errors import SchemaError, ValidationError
from conduit_nb.schemas import Range, decode, encode, schema_of
from tests.schemas.records import (
    Chain,
    Color,
    Everything,
    File,
    Files,
    everything,
    holder_of,
    problems_of,
)


def test_a_record_of_every_type_comes_back():
    record = everything()

    assert decode(encode(record), Everything) == record


def test_text_is_compact_ordered_and_not_escaped_beyond_need():
    assert encode(everything()) == (
        '{"text":"\\"é\\n\\u007f😀\u2028","whole":1000000000000000000000000000000,"number":-0.5,'
        '"flag":true,"data":"AP8=","day":"2024-02-29","moment":"2024-01-01T12:30:00+00:00",'
        '"color":2,"size":"small","rank":1,"choice":1,"maybe":null,"table":{"":[],"a b":[1]},'
        '"file":{"name":"a","bytes":1},"more":[]}'
    )


def test_the_text_is_json_for_others_too():
    assert json.loads(encode(everything()))["text"] == '"é\n\x7f😀\u2028'


def test_an_error_says_where_what_was_expected_and_what_came():
    text = '{"files":[{"name":"a","bytes":1},{"name":"b","bytes":"12"}]}'

    assert problems_of(lambda: decode(text, Files)) == [
        '$.files[1].bytes: expected int, got str "12"'
    ]


def test_every_problem_is_told_at_once():
    text = '{"files":[{"name":1,"size":2},{"name":"b","bytes":1.0,"bytes":true},null],"x":0}'

    assert problems_of(lambda: decode(text, Files)) == [
        "$.files[0].name: expected str, got int 1",
        "$.files[0].bytes: missing, expected int",
        "$.files[0].size: unexpected; File has name, bytes",
        "$.files[1].bytes: expected int, got bool true",
        "$.files[2]: expected File, got null",
        "$.x: unexpected; Files has files",
        "$.files[1].bytes: the key stands there twice",
    ]


@pytest.mark.parametrize(
    ("hint", "value", "problem"),
    [
        (int, '"12"', 'expected int, got str "12"'),
        (int, "true", "expected int, got bool true"),
        (int, "1.0", "expected int, got float 1.0"),
        (int, "null", "expected int, got null"),
        (float, '"1"', 'expected float, got str "1"'),
        (float, "true", "expected float, got bool true"),
        (float, "NaN", "expected float, got float nan"),
        (float, "-Infinity", "expected float, got float -inf"),
        (bool, "1", "expected bool, got int 1"),
        (bool, '"true"', 'expected bool, got str "true"'),
        (str, "1", "expected str, got int 1"),
        (str, "[1]", "expected str, got list of 1"),
        (str, '{"a":1}', "expected str, got object with a"),
        (str, "{}", "expected str, got empty object"),
        (list[int], "1", "expected list, got int 1"),
        (list[int], '{"0":1}', 'expected list, got object with "0"'),
        (dict[str, int], "[]", "expected object, got list of 0"),
        (File, '"x"', 'expected File, got str "x"'),
        (Color, '"blue"', 'expected "red" or 2, got str "blue"'),
        (Color, "2.0", 'expected "red" or 2, got float 2.0'),
        (Literal[1], "true", "expected 1, got bool true"),
        (Literal[1], "1.0", "expected 1, got float 1.0"),
        (Literal[True], "1", "expected true, got int 1"),
        (Literal["a"], "[]", 'expected "a", got list of 0'),
        (int | None, '"x"', 'expected int or null, got str "x"'),
        (date, '"2024-02-30"', 'expected date like 2024-12-31, got str "2024-02-30"'),
        (date, "20240101", "expected date like 2024-12-31, got int 20240101"),
        (bytes, '"?"', 'expected base64 text, got str "?"'),
        (Annotated[int, Range(ge=1, le=5)], "6", "expected int 1..5, got int 6"),
    ],
)
def test_nothing_is_coerced(hint: Any, value: str, problem: str):
    assert problems_of(lambda: decode(f'{{"f":{value}}}', holder_of(hint))) == [f"$.f: {problem}"]


def test_a_naive_time_is_refused_in_both_directions():
    holder = holder_of(datetime)

    assert problems_of(lambda: decode('{"f":"2024-01-01T00:00:00"}', holder)) == [
        "$.f: expected datetime with offset, like 2024-12-31T23:59:00Z, "
        'got str "2024-01-01T00:00:00"'
    ]
    naive = datetime(2024, 1, 1)  # the point of the test
    assert (
        "expected an aware datetime, got a naive one"
        in problems_of(lambda: encode(holder(naive)))[0]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "$: not JSON: EOF while parsing a value"),
        ("{", "$: not JSON: EOF while parsing an object"),
        ('{"files":[]} x', "$: not JSON: trailing characters"),
        ("{'files':[]}", "$: not JSON: key must be a string"),
        ('{"files":[],}', "$: not JSON: trailing comma"),
        ("[" * 100_000, "$: not JSON: recursion limit exceeded"),
        ('{"a":' * 100_000, "$: not JSON: recursion limit exceeded"),
        ('{"files":"\\ud800"}', "$.files: not JSON: "),
        ('{"files":"\ud800"}', "$.files: not JSON: a lone surrogate"),
        ('{"files":"\n"}', "$: not JSON: control character"),
        ("9" * 100_000, "$: not JSON: number out of range"),
        ("[]", "$: expected Files, got list of 0"),
        ("null", "$: expected Files, got null"),
    ],
)
def test_what_is_no_json_or_no_object_is_one_clear_problem(text: str, problem: str):
    found = problems_of(lambda: decode(text, Files))

    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_validation_error_keeps_the_text():
    with pytest.raises(ValidationError) as caught:
        decode('{"files":1}', Files)

    assert caught.value.text == '{"files":1}'


def test_long_values_and_keys_are_shortened():
    text = json.dumps({"files": "x" * 100_000, "k" * 500 + " ": 1})

    found = problems_of(lambda: decode(text, Files))

    assert found[0].startswith('$.files: expected list, got str of 100000: "xxx')
    assert all(len(problem) < 200 for problem in found)


def test_many_problems_stay_short_in_the_message():
    with pytest.raises(ValidationError) as caught:
        decode(json.dumps({"files": [1] * 1000}), Files)

    assert len(caught.value.problems) == 1000
    assert str(caught.value).endswith("and 995 more")
    assert len(str(caught.value)) < 400


def test_duplicate_keys_are_found_at_every_depth():
    holder = holder_of(dict[str, dict[str, int]])
    text = '{"f":{"a b":{"x":1,"x":2,"x":3},"c":{"y":1,"y":2}}}'

    assert problems_of(lambda: decode(text, holder)) == [
        '$.f["a b"].x: the key stands there twice',
        "$.f.c.y: the key stands there twice",
    ]


def test_fields_with_a_default_may_be_left_out():
    tagged = make_dataclass("Tagged", [("name", str), ("size", float, field(default=0.5))])

    assert decode('{"name":"a"}', tagged) == tagged("a", 0.5)
    assert decode("{}", Chain) == Chain(None)


def test_defaults_from_a_factory_are_not_shared():
    @dataclass
    class Bag:
        items: list[int] = field(default_factory=list)

    assert decode("{}", Bag).items is not decode("{}", Bag).items


def test_an_optional_field_without_a_default_is_wanted():
    assert problems_of(lambda: decode("{}", holder_of(int | None))) == [
        "$.f: missing, expected int or null"
    ]


@pytest.mark.parametrize("text", ['{"f":1}', '{"f":1.0}', '{"f":1e0}', '{"f":10E-1}'])
def test_a_whole_number_is_taken_for_a_float(text: str):
    found = decode(text, holder_of(float))

    assert found.f == 1.0
    assert type(found.f) is float


@pytest.mark.parametrize("depth", [201, 250, 5_000])
def test_what_nests_deeper_than_a_reader_goes_is_not_written(depth: int):
    found = problems_of(lambda: encode(chain_of(depth)))

    assert len(found) == 1
    assert "nests deeper than 200 levels" in found[0] or "nests too deep" in found[0]
    assert len(found[0]) < 150


def test_what_nests_as_deep_as_allowed_comes_back():
    text = encode(chain_of(200))

    assert encode(decode(text, Chain)) == text


def chain_of(depth: int) -> Chain:
    chain = Chain()
    for _ in range(depth - 1):
        chain = Chain(chain)
    return chain


@pytest.mark.parametrize(
    ("hint", "default", "says"),
    [
        (int, "3", 'expected int, got str "3"'),
        (int, None, "expected int, got null"),
        (float, float("nan"), "expected float, got float nan"),
        (Literal["a"], "b", 'expected "a", got str "b"'),
        (Annotated[int, Range(ge=1)], 0, "expected int >=1, got int 0"),
    ],
)
def test_a_default_of_another_type_is_refused_when_the_schema_is_made(
    hint: Any, default: Any, says: str
):
    holder = make_dataclass("Holder", [("f", hint, field(default=default))])

    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Outer", [("inner", list[holder])]))

    assert str(caught.value) == f"$.inner[].f: the default does not fit: {says}"


@dataclass
class Numbers:
    whole: int = 0
    many: list[int] = field(default_factory=list)
    table: dict[str, int | str] = field(default_factory=dict)
    share: float = 0.0


LONG = 10**5000


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (Numbers(whole=LONG), "$.whole"),
        (Numbers(whole=-LONG), "$.whole"),
        (Numbers(whole=10**4300), "$.whole"),
        (Numbers(many=[1, LONG]), "$.many[1]"),
        (Numbers(table={"a": "x", "b c": LONG}), '$.table["b c"]'),
        (Numbers(share=LONG), "$.share"),
        (Numbers(share=float("inf")), "$.share"),
        (Numbers(share=float("nan")), "$.share"),
    ],
)
def test_a_number_that_cannot_be_written_is_told_with_its_place(record: Numbers, path: str):
    schema = schema_of(Numbers)
    for call in (schema.encode, schema.validate, schema.to_jsonable):
        with pytest.raises(ValidationError) as caught:
            call(record)
        assert [problem.path for problem in caught.value.problems] == [path]


def test_a_number_of_as_many_digits_as_are_written_is_fine():
    record = Numbers(whole=10**4299)

    assert schema_of(Numbers).decode(schema_of(Numbers).encode(record)) == record


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"whole":1' + "0" * 5000 + "}", "$.whole"),
        ('{"many":[1,2,-1' + "0" * 5000 + ",4]}", "$.many[2]"),
        ('{"table":{"x":1,"y":1' + "0" * 5000 + "}}", "$.table.y"),
        ('{"share":1' + "0" * 5000 + "}", "$.share"),
        ('{"share":1e999}', "$.share"),
        ('{"share":NaN}', "$.share"),
        ('{"table":{"a":"\\ud800"}}', "$.table.a"),
        ('{"table":{"a":"\\\\\\udfff"}}', "$.table.a"),
        ('{"table":{"a":"\ud800"}}', "$.table.a"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, path: str):
    with pytest.raises(ValidationError) as caught:
        schema_of(Numbers).decode(text)

    assert [problem.path for problem in caught.value.problems] == [path]


def test_json_values_with_a_number_that_cannot_be_written_are_told_with_its_place():
    with pytest.raises(ValidationError) as caught:
        schema_of(Numbers).from_jsonable({"whole": 1, "many": [LONG]})

    assert [problem.path for problem in caught.value.problems] == ["$.many[0]"]


def test_a_default_or_a_choice_that_cannot_be_written_is_refused():
    for kind in (
        make_dataclass("Own", [("f", int, field(default=LONG))]),
        make_dataclass("Own", [("f", Literal[LONG])]),
        make_dataclass("Own", [("f", Enum("Long", {"A": LONG}))]),
    ):
        with pytest.raises(SchemaError) as caught:
            schema_of(kind)
        assert caught.value.path == "$.f"


@pytest.mark.parametrize("depth", [201, 300, 3_000])
def test_values_that_nest_too_deep_are_errors_wherever_they_are_used(depth: int):
    chain = None
    for _ in range(depth):
        chain = Chain(chain)
    schema = schema_of(Chain)
    text = '{"next":' * depth

    for call in (schema.encode, schema.validate, schema.to_jsonable):
        with pytest.raises(ValidationError, match="nests"):
            call(chain)
    with pytest.raises(ValidationError, match="not JSON"):
        schema.decode(text + "null" + "}" * depth)
    assert schema.close(text) is None
    values: Any = None
    for _ in range(depth):
        values = {"next": values}
    with pytest.raises(ValidationError):
        schema.from_jsonable(values)
    while chain is not None:  # so deep a value is not taken apart by Python at once
        chain = chain.next

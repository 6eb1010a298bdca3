"""Strict reading and writing: all problems at once, each with its path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest

from conduit_nb.errors import ModelError, SchemaError, ValidationError
from conduit_nb.schemas import Range, decode, encode, schema_of, validate
from tests.schemas.records import (
    Chain,
    Color,
    Everything,
    File,
    Files,
    Size,
    check_problems,
    everything,
    has_facts,
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

    check_problems(
        problems_of(lambda: decode(text, Files)),
        ("$.files[1].bytes", "mismatch", ("int", 'str "12"')),
    )


def test_all_problems_are_reported_at_once():
    text = '{"files":[{"name":1,"size":2},{"name":"b","bytes":1.0,"bytes":true},null],"x":0}'

    check_problems(
        problems_of(lambda: decode(text, Files)),
        ("$.files[0].name", "mismatch", ("str", "int 1")),
        ("$.files[0].bytes", "missing", ("int",)),
        ("$.files[0].size", "unexpected", ("File", "name, bytes")),
        ("$.files[1].bytes", "mismatch", ("int", "bool true")),
        ("$.files[2]", "mismatch", ("File", "null")),
        ("$.x", "unexpected", ("Files", "files")),
        ("$.files[1].bytes", "duplicate_key", ()),
    )


@pytest.mark.parametrize(
    ("hint", "value", "facts"),
    [
        (int, '"12"', ("int", 'str "12"')),
        (int, "true", ("int", "bool true")),
        (int, "1.0", ("int", "float 1.0")),
        (int, "null", ("int", "null")),
        (float, '"1"', ("float", 'str "1"')),
        (float, "true", ("float", "bool true")),
        (float, "NaN", ("float", "float nan")),
        (float, "-Infinity", ("float", "float -inf")),
        (bool, "1", ("bool", "int 1")),
        (bool, '"true"', ("bool", 'str "true"')),
        (str, "1", ("str", "int 1")),
        (str, "[1]", ("str", "list", "1")),
        (str, '{"a":1}', ("str", "object", "a")),
        (str, "{}", ("str", "object")),
        (list[int], "1", ("list", "int 1")),
        (list[int], '{"0":1}', ("list", "object", '"0"')),
        (dict[str, int], "[]", ("object", "list", "0")),
        (File, '"x"', ("File", 'str "x"')),
        (Color, '"blue"', ('"red"', "2", 'str "blue"')),
        (Color, "2.0", ('"red"', "2", "float 2.0")),
        (Literal[1], "true", ("1", "bool true")),
        (Literal[1], "1.0", ("1", "float 1.0")),
        (Literal[True], "1", ("true", "int 1")),
        (Literal["a"], "[]", ('"a"', "list", "0")),
        (int | None, '"x"', ("int", "null", 'str "x"')),
        (date, '"2024-02-30"', ("date", "2024-12-31", 'str "2024-02-30"')),
        (date, "20240101", ("date", "2024-12-31", "int 20240101")),
        (bytes, '"?"', ("base64", 'str "?"')),
        (Annotated[int, Range(ge=1, le=5)], "6", ("int 1..5", "int 6")),
    ],
)
def test_nothing_is_coerced(hint: Any, value: str, facts: tuple[str, ...]):
    found = problems_of(lambda: decode(f'{{"f":{value}}}', holder_of(hint)))

    check_problems(found, ("$.f", "mismatch", facts))


def test_a_naive_time_is_refused_in_both_directions():
    holder = holder_of(datetime)

    check_problems(
        problems_of(lambda: decode('{"f":"2024-01-01T00:00:00"}', holder)),
        ("$.f", "mismatch", ("datetime", "2024-12-31T23:59:00Z", 'str "2024-01-01T00:00:00"')),
    )
    naive = datetime(2024, 1, 1)  # the point of the test
    check_problems(
        problems_of(lambda: encode(holder(naive))),
        ("$.f", "mismatch", ("datetime", "tzinfo")),
    )


@pytest.mark.parametrize(
    ("text", "path", "kind", "fact"),
    [  # of a text that is no JSON the parser says why, in its own words
        ("", "$", "not_json", "EOF while parsing a value"),
        ("{", "$", "not_json", "EOF while parsing an object"),
        ('{"files":[]} x', "$", "not_json", "trailing characters"),
        ("{'files':[]}", "$", "not_json", "key must be a string"),
        ('{"files":[],}', "$", "not_json", "trailing comma"),
        ("[" * 100_000, "$", "not_json", "recursion limit exceeded"),
        ('{"a":' * 100_000, "$", "not_json", "recursion limit exceeded"),
        ('{"files":"\\ud800"}', "$.files", "not_json", "hex escape"),
        ('{"files":"\ud800"}', "$.files", "not_json", "UTF-8"),
        ('{"files":"\n"}', "$", "not_json", "control character"),
        ("9" * 100_000, "$", "not_json", "number out of range"),
        ("[]", "$", "mismatch", "Files"),
        ("null", "$", "mismatch", "null"),
    ],
)
def test_what_is_no_json_or_no_object_is_one_clear_problem(
    text: str, path: str, kind: str, fact: str
):
    check_problems(problems_of(lambda: decode(text, Files)), (path, kind, (fact,)))


def test_a_validation_error_keeps_the_text():
    with pytest.raises(ValidationError) as caught:
        decode('{"files":1}', Files)

    assert caught.value.text == '{"files":1}'


def test_long_values_and_keys_are_shortened():
    text = json.dumps({"files": "x" * 100_000, "k" * 500 + " ": 1})

    found = problems_of(lambda: decode(text, Files))

    assert (found[0].path, found[0].kind) == ("$.files", "mismatch")
    assert has_facts(found[0].message, "list", "str", "100000")
    assert found[0].message.count("x") < 50
    assert all(len(str(problem)) < 200 for problem in found)


def test_many_problems_stay_short_in_the_message():
    with pytest.raises(ValidationError) as caught:
        decode(json.dumps({"files": [1] * 1000}), Files)

    assert len(caught.value.problems) == 1000
    assert has_facts(str(caught.value), "$.files[4]", "995")
    assert "$.files[5]" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_duplicate_keys_are_found_at_every_depth():
    holder = holder_of(dict[str, dict[str, int]])
    text = '{"f":{"a b":{"x":1,"x":2,"x":3},"c":{"y":1,"y":2}}}'

    check_problems(
        problems_of(lambda: decode(text, holder)),
        ('$.f["a b"].x', "duplicate_key", ()),
        ("$.f.c.y", "duplicate_key", ()),
    )


def test_fields_with_a_default_may_be_left_out():
    tagged = make_dataclass("Tagged", [("name", str), ("size", float, field(default=0.5))])

    assert decode('{"name":"a"}', tagged) == tagged("a", 0.5)
    assert decode("{}", Chain) == Chain(None)


def test_defaults_from_a_factory_are_not_shared():
    @dataclass
    class Bag:
        items: list[int] = field(default_factory=list)

    assert decode("{}", Bag).items is not decode("{}", Bag).items


def test_an_optional_field_without_a_default_is_required():
    check_problems(
        problems_of(lambda: decode("{}", holder_of(int | None))),
        ("$.f", "missing", ("int", "null")),
    )


@pytest.mark.parametrize("text", ['{"f":1}', '{"f":1.0}', '{"f":1e0}', '{"f":10E-1}'])
def test_a_whole_number_is_taken_for_a_float(text: str):
    found = decode(text, holder_of(float))

    assert found.f == 1.0
    assert type(found.f) is float


@pytest.mark.parametrize("depth", [201, 250, 5_000])
def test_what_nests_deeper_than_a_reader_goes_is_not_written(depth: int):
    [problem] = problems_of(lambda: encode(chain_of(depth)))

    assert problem.kind == "too_deep"
    assert len(str(problem)) < 150


def test_what_nests_as_deep_as_allowed_comes_back():
    text = encode(chain_of(200))

    assert encode(decode(text, Chain)) == text


def chain_of(depth: int) -> Chain:
    chain = Chain()
    for _ in range(depth - 1):
        chain = Chain(chain)
    return chain


@pytest.mark.parametrize(
    ("hint", "default", "facts"),
    [
        (int, "3", ("int", 'str "3"')),
        (int, None, ("int", "null")),
        (float, float("nan"), ("float", "float nan")),
        (Literal["a"], "b", ('"a"', 'str "b"')),
        (Annotated[int, Range(ge=1)], 0, ("int >=1", "int 0")),
    ],
)
def test_a_default_of_another_type_is_refused_when_the_schema_is_made(
    hint: Any, default: Any, facts: tuple[str, ...]
):
    holder = make_dataclass("Holder", [("f", hint, field(default=default))])

    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Outer", [("inner", list[holder])]))

    assert caught.value.path == "$.inner[].f"
    assert has_facts(str(caught.value), "default", *facts)


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
def test_a_number_that_cannot_be_written_is_reported_with_its_path(record: Numbers, path: str):
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
def test_what_cannot_be_read_is_reported_with_its_path(text: str, path: str):
    with pytest.raises(ValidationError) as caught:
        schema_of(Numbers).decode(text)

    assert [problem.path for problem in caught.value.problems] == [path]


def test_json_values_with_a_number_that_cannot_be_written_are_reported_with_its_path():
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
        assert [one.kind for one in problems_of(call, chain)] == ["too_deep"]
    [problem] = problems_of(lambda: schema.decode(text + "null" + "}" * depth))
    assert problem.kind == "not_json"
    assert schema.close(text) is None
    values: Any = None
    for _ in range(depth):
        values = {"next": values}
    with pytest.raises(ValidationError):
        schema.from_jsonable(values)
    while chain is not None:  # so deep a value is not taken apart by Python at once
        chain = chain.next


@dataclass
class Account:
    owner: str
    balance: float = 0.0

    def __post_init__(self) -> None:
        if self.owner == "nobody":
            raise ValueError("there is {nobody}")
        if self.owner == "model":
            raise ModelError("inside")


def test_the_constructor_of_the_class_is_used_and_may_refuse():
    check_problems(
        problems_of(lambda: decode('{"owner":"nobody"}', Account)),
        ("$", "raised", ("Account", "ValueError: there is {nobody}")),
    )
    with pytest.raises(ModelError, match="inside"):
        decode('{"owner":"model"}', Account)


class SilentError(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError:"),
        (AssertionError, "AssertionError"),
        (OSError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
        (StopIteration(), "StopIteration"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (ImportError("no module"), "ImportError: no module"),
        (TypeError("half \ud800 \x1b[31m"), "TypeError: half \ufffd \ufffd[31m"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
def test_an_error_in_a_constructor_is_reported_with_its_type(error: Any, text: str):
    @dataclass
    class Own:
        x: int

        def __post_init__(self) -> None:
            raise error

    @dataclass
    class Outer:
        own: list[Own]

    problems = problems_of(lambda: decode('{"own":[{"x":1}]}', Outer))

    check_problems(problems, ("$.own[0]", "raised", ("Own", text)))
    assert problems[0].message.endswith(text)


def test_an_error_without_a_readable_text_is_reported_by_its_type_and_a_long_one_is_cut():
    @dataclass
    class Own:
        is_long: bool

        def __post_init__(self) -> None:
            raise ValueError("x" * 10**6) if self.is_long else SilentError

    [silent] = problems_of(lambda: decode('{"is_long":false}', Own))
    [long] = problems_of(lambda: decode('{"is_long":true}', Own))

    check_problems([silent], ("$", "raised", ("Own", "SilentError")))
    check_problems([long], ("$", "raised", ("Own", "ValueError")))
    assert "ValueError: xxx" in long.message
    assert len(str(long)) < 400


def test_a_field_that_cannot_be_read_is_reported_with_the_error():
    @dataclass
    class Own:
        x: int

        def __getattribute__(self, name: str) -> Any:
            if name == "x":
                raise KeyError("nowhere")
            return super().__getattribute__(name)

    check_problems(
        problems_of(lambda: encode(Own(1))), ("$", "raised", ("Own", "KeyError: 'nowhere'"))
    )


def test_frozen_and_slotted_records_come_back():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        x: int
        y: int = 0

    assert decode(encode(Point(x=1)), Point) == Point(x=1)


@pytest.mark.parametrize(
    ("name", "value", "path", "facts"),
    [
        ("text", 1, "$.text", ("str", "int 1")),
        ("text", None, "$.text", ("str", "null")),
        ("text", b"x", "$.text", ("str", "bytes")),
        ("whole", "1", "$.whole", ("int", 'str "1"')),
        ("whole", True, "$.whole", ("int", "bool true")),
        ("whole", 1.0, "$.whole", ("int", "float 1.0")),
        ("number", float("nan"), "$.number", ("float", "float nan")),
        ("number", float("inf"), "$.number", ("float", "float inf")),
        ("number", 2**53 + 1, "$.number", ("float", "int 9007199254740993", "float")),
        ("flag", 1, "$.flag", ("bool", "int 1")),
        ("data", "AA==", "$.data", ("bytes", 'str "AA=="')),
        ("day", datetime(2024, 1, 1, tzinfo=UTC), "$.day", ("date", "datetime")),
        ("day", "2024-01-01", "$.day", ("date", 'str "2024-01-01"')),
        ("moment", date(2024, 1, 1), "$.moment", ("datetime", "date")),
        ("color", "red", "$.color", ("Color", 'str "red"')),
        ("color", Size.SMALL, "$.color", ("Color", "Size.SMALL")),
        ("choice", "b", "$.choice", ('"a"', "1", 'str "b"')),
        ("maybe", "x", "$.maybe", ("int", "null", 'str "x"')),
        ("table", {1: []}, "$.table[1]", ("str", "int 1")),
        ("table", {"a": [None]}, "$.table.a[0]", ("int", "null")),
        ("table", [], "$.table", ("dict", "list", "0")),
        ("file", {"name": "a", "bytes": 1}, "$.file", ("File", "object", "name, bytes")),
        ("file", Chain(), "$.file", ("File", "Chain")),
        ("file", File, "$.file", ("File", "type")),
        ("more", (File("a", 1),), "$.more", ("list", "tuple")),
        ("more", [File("a", "1")], "$.more[0].bytes", ("int", 'str "1"')),
    ],
)
def test_a_record_changed_after_its_making_is_caught(
    name: str, value: Any, path: str, facts: tuple[str, ...]
):
    record = everything()
    setattr(record, name, value)

    found = problems_of(lambda: validate(record))

    check_problems(found, (path, "mismatch", facts))
    assert problems_of(lambda: encode(record)) == found


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("text", "\ud800", "$.text"),
        ("table", {"a\ud800": []}, '$.table["a\ufffd"]'),
    ],
)
def test_text_that_utf8_cannot_carry_is_caught(name: str, value: Any, path: str):
    record = everything()
    setattr(record, name, value)

    found = problems_of(lambda: validate(record))

    check_problems(found, (path, "not_json", ()))
    assert problems_of(lambda: encode(record)) == found


def test_all_changes_are_reported_at_once():
    record = everything()
    record.text = 1  # type: ignore[assignment]  # the point of the test
    record.file.bytes = "1"  # type: ignore[assignment]  # the point of the test
    del record.flag

    check_problems(
        problems_of(lambda: validate(record)),
        ("$.text", "mismatch", ("str", "int 1")),
        ("$.flag", "missing", ("bool",)),
        ("$.file.bytes", "mismatch", ("int", 'str "1"')),
    )


def test_a_record_of_a_subclass_is_caught():
    @dataclass
    class Special(File):
        extra: str = ""

    check_problems(
        problems_of(lambda: validate(Files([Special("a", 1)]))),
        ("$.files[0]", "mismatch", ("File", "Special")),
    )


def test_a_record_of_another_definition_with_equal_fields_is_one_too():
    again = make_dataclass("File", [("name", str), ("bytes", int)])

    assert encode(Files([again("a", 1)])) == encode(Files([File("a", 1)]))


def test_a_record_of_an_older_class_of_that_name_is_refused():
    older = make_dataclass("File", [("name", str), ("bytes", int | None)])

    check_problems(
        problems_of(lambda: validate(Files([older("a", 1)]))),
        ("$.files[0]", "redefined", ("File",)),
    )


def test_a_record_that_contains_itself_is_caught():
    chain = Chain()
    chain.next = Chain(chain)

    check_problems(problems_of(lambda: encode(chain)), ("$.next.next", "circular", ()))


def test_a_record_that_stands_in_two_places_is_fine():
    file = File("a", 1)

    assert encode(Files([file, file])).count('"a"') == 2


def test_values_of_numpy_and_pandas_do_not_slip_through():
    pandas = pytest.importorskip("pandas")
    moment = pandas.Timestamp("2024-01-01T00:00:00.123456789Z")

    holder = holder_of(datetime)
    assert encode(holder(moment)) == '{"f":"2024-01-01T00:00:00.123456+00:00"}'
    check_problems(
        problems_of(lambda: encode(holder(pandas.NaT))),
        ("$.f", "mismatch", ("datetime", "NaTType")),
    )
    whole = pandas.Series([1.5]).iloc[0]
    check_problems(
        problems_of(lambda: encode(holder_of(int)(whole))),
        ("$.f", "mismatch", ("int", "float 1.5")),
    )

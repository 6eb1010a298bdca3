"""Strict reading and writing: all problems at once, each with its path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pytest

from conduit_nb.errors import ModelError, SchemaError, ValidationError
from conduit_nb.schemas import Range, decode, encode, schema_of, validate


class Color(Enum):
    RED = "red"
    TWO = 2


class Size(StrEnum):
    SMALL = "small"


class Rank(IntEnum):
    FIRST = 1


@dataclass
class File:
    name: str
    bytes: int


@dataclass
class Files:
    files: list[File]


@dataclass
class Everything:
    text: str
    whole: int
    number: float
    flag: bool
    data: bytes
    day: date
    moment: datetime
    color: Color
    size: Size
    rank: Rank
    choice: Literal["a", 1]
    maybe: int | None
    table: dict[str, list[int]]
    file: File
    more: list[File] = field(default_factory=list)


@dataclass
class Chain:
    next: Chain | None = None


@dataclass
class Account:
    owner: str
    balance: float = 0.0

    def __post_init__(self) -> None:
        if self.owner == "nobody":
            raise ValueError("there is {nobody}")
        if self.owner == "model":
            raise ModelError("from inside")


def everything() -> Everything:
    return Everything(
        text='"é\n\x7f😀\u2028',
        whole=10**30,
        number=-0.5,
        flag=True,
        data=b"\x00\xff",
        day=date(2024, 2, 29),
        moment=datetime(2024, 1, 1, 12, 30, tzinfo=UTC),
        color=Color.TWO,
        size=Size.SMALL,
        rank=Rank.FIRST,
        choice=1,
        maybe=None,
        table={"": [], "a b": [1]},
        file=File("a", 1),
    )


def problems_of(call: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        call()
    return [str(problem) for problem in caught.value.problems]


def holder_of(hint: Any) -> Any:
    return make_dataclass("Holder", [("f", hint)])


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
        ('{"files":"\\ud800"}', "$: not JSON: "),
        ('{"files":"\ud800"}', "$: not JSON: a lone surrogate"),
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
    assert decode('{"owner":"me"}', Account) == Account("me", 0.0)
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


def test_the_constructor_of_the_class_is_used_and_may_refuse():
    assert problems_of(lambda: decode('{"owner":"nobody"}', Account)) == [
        "$: Account refuses it: there is {nobody}"
    ]
    with pytest.raises(ModelError, match="from inside"):
        decode('{"owner":"model"}', Account)


def test_frozen_and_slotted_records_come_back():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        x: int
        y: int = 0

    assert decode(encode(Point(x=1)), Point) == Point(x=1)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("text", 1, "$.text: expected str, got int 1"),
        ("text", None, "$.text: expected str, got null"),
        ("text", b"x", "$.text: expected str, got bytes"),
        ("text", "\ud800", "$.text: holds a lone surrogate, which JSON text cannot carry"),
        ("whole", "1", '$.whole: expected int, got str "1"'),
        ("whole", True, "$.whole: expected int, got bool true"),
        ("whole", 1.0, "$.whole: expected int, got float 1.0"),
        ("number", float("nan"), "$.number: expected float, got float nan"),
        ("number", float("inf"), "$.number: expected float, got float inf"),
        (
            "number",
            2**53 + 1,
            "$.number: expected float, got int 9007199254740993, which no float holds exactly",
        ),
        ("flag", 1, "$.flag: expected bool, got int 1"),
        ("data", "AA==", '$.data: expected bytes, got str "AA=="'),
        ("day", datetime(2024, 1, 1, tzinfo=UTC), "$.day: expected date, got datetime"),
        ("day", "2024-01-01", '$.day: expected date, got str "2024-01-01"'),
        ("moment", date(2024, 1, 1), "$.moment: expected aware datetime, got date"),
        ("color", "red", '$.color: expected a member of Color, got str "red"'),
        ("color", Size.SMALL, "$.color: expected a member of Color, got Size.SMALL"),
        ("choice", "b", '$.choice: expected "a" or 1, got str "b"'),
        ("maybe", "x", '$.maybe: expected int or null, got str "x"'),
        ("table", {1: []}, "$.table[1]: expected str as key, got int 1"),
        ("table", {"a": [None]}, "$.table.a[0]: expected int, got null"),
        ("table", {"a\ud800": []}, None),
        ("table", [], "$.table: expected dict, got list of 0"),
        ("file", {"name": "a", "bytes": 1}, "$.file: expected File, got object with name, bytes"),
        ("file", Chain(), "$.file: expected File, got Chain"),
        ("file", File, "$.file: expected File, got type"),
        ("more", (File("a", 1),), "$.more: expected list, got tuple"),
        ("more", [File("a", "1")], '$.more[0].bytes: expected int, got str "1"'),
    ],
)
def test_a_record_changed_after_its_making_is_caught(name: str, value: Any, problem: str | None):
    record = everything()
    setattr(record, name, value)

    found = problems_of(lambda: validate(record))

    assert len(found) == 1
    assert problem is None or found == [problem]
    assert problems_of(lambda: encode(record)) == found


def test_every_change_is_told_at_once():
    record = everything()
    record.text = 1  # type: ignore[assignment]  # the point of the test
    record.file.bytes = "1"  # type: ignore[assignment]  # the point of the test
    del record.flag

    assert problems_of(lambda: validate(record)) == [
        "$.text: expected str, got int 1",
        "$.flag: missing, expected bool",
        '$.file.bytes: expected int, got str "1"',
    ]


def test_a_record_of_a_subclass_is_caught():
    @dataclass
    class Special(File):
        extra: str = ""

    assert problems_of(lambda: validate(Files([Special("a", 1)]))) == [
        "$.files[0]: expected File, got Special"
    ]


def test_a_record_of_an_older_class_of_that_name_is_told_apart():
    older = make_dataclass("File", [("name", str), ("bytes", int)])

    assert problems_of(lambda: validate(Files([older("a", 1)]))) == [
        "$.files[0]: expected File, got one of another class of that name"
    ]


def test_a_record_that_contains_itself_is_caught():
    chain = Chain()
    chain.next = Chain(chain)

    assert problems_of(lambda: encode(chain)) == ["$.next.next: contains itself"]


def test_a_record_that_stands_in_two_places_is_fine():
    file = File("a", 1)

    assert encode(Files([file, file])).count('"a"') == 2


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


def test_values_of_numpy_and_pandas_do_not_slip_through():
    pandas = pytest.importorskip("pandas")
    moment = pandas.Timestamp("2024-01-01T00:00:00.123456789Z")

    holder = holder_of(datetime)
    assert encode(holder(moment)) == '{"f":"2024-01-01T00:00:00.123456+00:00"}'
    assert problems_of(lambda: encode(holder(pandas.NaT))) == [
        "$.f: expected aware datetime, got NaTType"
    ]
    whole = pandas.Series([1]).iloc[0]
    assert problems_of(lambda: encode(holder_of(int)(whole))) == ["$.f: expected int, got int64"]

"""Records as they are made, and as they are found later."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from conduit_nb.errors import ModelError
from conduit_nb.schemas import decode, encode, validate
from tests.schemas.records import (
    Chain,
    File,
    Files,
    Size,
    check_problems,
    everything,
    holder_of,
    problems_of,
)


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
    ("error", "said"),
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
def test_whatever_goes_wrong_in_a_constructor_is_said_with_its_type(error: Any, said: str):
    @dataclass
    class Own:
        x: int

        def __post_init__(self) -> None:
            raise error

    @dataclass
    class Outer:
        own: list[Own]

    problems = problems_of(lambda: decode('{"own":[{"x":1}]}', Outer))

    check_problems(problems, ("$.own[0]", "raised", ("Own", said)))
    assert problems[0].message.endswith(said)


def test_an_error_without_a_readable_text_is_said_by_its_type_and_a_long_one_is_cut():
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


def test_a_field_that_cannot_be_read_is_said_with_the_error():
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


def test_every_change_is_told_at_once():
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


def test_a_record_of_an_older_class_of_that_name_is_told_apart():
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

"""Errors in our words."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.schemas.problems import (
    describe_shape,
    describe_value,
    range_text,
    size_text,
    to_path,
)
from conduit_nb.schemas.shapes import (
    Bytes,
    Choice,
    DateTime,
    Int,
    Length,
    List,
    Map,
    Null,
    Range,
    Shape,
    Str,
    Union,
)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ([], "$"),
        (["files", 1, "bytes"], "$.files[1].bytes"),
        (["a b", "", "é"], '$["a b"][""].é'),
        (["x" * 100 + " "], '$["' + "x" * 38 + "…]"),
        (["n"] * 100, "$" + ".n" * 8 + "…" + ".n" * 8),
    ],
)
def test_a_path_can_be_read_and_is_never_long(keys: list[str | int], path: str):
    assert to_path(keys) == path


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Str(), "str"),
        (Str(Length(1, 5)), "str of 1..5 characters"),
        (Str(pattern="a+"), "str matching /a+/"),
        (Int(Range(gt=0)), "int >0"),
        (List(Int(), Length(2)), "list of 2.. items"),
        (Map(Int(), Length(0, 3)), "object of ..3 keys"),
        (Choice(("a", 1, True)), '"a" or 1 or true'),
        (Choice(tuple(range(20))), "0 or 1 or 2 or 3 or 4 or 5 or 6 or 7 or 12 more"),
        (Union((Int(), Null())), "int or null"),
        (Bytes(is_object=True), '{"base64": text}'),
    ],
)
def test_a_shape_is_described_in_few_words(shape: Shape, words: str):
    assert describe_shape(shape) == words


def test_in_python_the_words_are_those_of_python():
    assert describe_shape(Bytes(), in_python=True) == "bytes"
    assert describe_shape(DateTime(), in_python=True) == "aware datetime"
    assert describe_shape(Map(Int()), in_python=True) == "dict"


class Hostile:
    def __repr__(self) -> str:
        raise AssertionError("an error looks at classes only")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "bool true"),
        ("12", 'str "12"'),
        ("x" * 41, 'str of 41: "' + "x" * 38 + "…"),
        (7, "int 7"),
        pytest.param(10**5000, "int of about 5000 digits", id="huge"),
        (0.5, "float 0.5"),
        ([1, 2], "list of 2"),
        ({"a": 1, "b c": 2}, 'object with a, "b c"'),
        ({1: 2}, "object with int"),
        (Hostile(), "Hostile"),
        ((1,), "tuple"),
    ],
)
def test_a_value_is_shown_short(value: Any, words: str):
    assert describe_value(value) == words


@pytest.mark.parametrize(
    ("range_", "text"),
    [
        (Range(), ""),
        (Range(ge=1, le=5), "1..5"),
        (Range(ge=1), ">=1"),
        (Range(gt=0.5, le=2), ">0.5 <=2"),
        (Range(ge=1.0), ">=1"),
    ],
)
def test_a_range_is_written_short(range_: Range, text: str):
    assert range_text(range_) == text


def test_a_length_is_written_short():
    assert [size_text(one) for one in (Length(1, 5), Length(1), Length(0, 5), Length(3, 3))] == [
        "1..5",
        "1..",
        "..5",
        "3",
    ]


def test_marks_that_make_text_read_otherwise_are_seen_in_what_is_shown():
    assert describe_value("\u202egnp.exe") == 'str "\ufffdgnp.exe"'
    assert to_path(["\u2066x y"]) == '$["\ufffdx y"]'

"""The words for a type that is refused; which types are, test_annotations says."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, defaultdict
from dataclasses import dataclass, make_dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pandas as pd
import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import decode, encode, json_schema, mdl, schema_of, validate
from conduit_nb.schemas.annotations import read_dataclass
from conduit_nb.schemas.refusals import SUPPORTED, not_a_dataclass, refusal, type_name


class Outer:
    class Inner:
        pass


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "int"),
        (list[int], "list[int]"),
        (Any, "Any"),
        (Outer.Inner, "Outer.Inner"),
        (int | None, "int | None"),
    ],
)
def test_a_type_is_named_as_it_is_spelt(hint: Any, name: str):
    assert type_name(hint) == name


def test_what_no_rule_knows_gets_the_list_of_what_is_supported():
    error = refusal(range, "$.f")

    assert str(error) == "$.f: range is not supported"
    assert SUPPORTED in error.hint


def test_a_class_is_to_be_decorated_and_a_plain_type_to_be_wrapped():
    assert "Put @dataclass above" in not_a_dataclass(Outer).hint
    assert "as a field" in not_a_dataclass(int).hint


@pytest.mark.parametrize(
    ("hint", "cure"),
    [
        (pd.Timestamp, "Write datetime"),
        (np.int64, "int, float"),
        (pd.Series, "Use str"),
    ],
)
def test_types_of_pandas_and_numpy_are_told_what_python_has_for_them(hint: type, cure: str):
    assert cure in refusal(hint, "$.f").hint


def test_a_table_in_the_place_of_a_class_is_told_by_its_class():
    frame = pd.DataFrame({"text": ["long " * 100]})
    assert str(not_a_dataclass(frame)) == "$: a DataFrame is not a dataclass"


def test_a_text_that_lists_values_is_told_to_be_a_literal():
    ticket = make_dataclass("Ticket", [("topic", "good, bad")])

    with pytest.raises(SchemaError) as caught:
        read_dataclass(ticket)
    assert caught.value.hint == 'For one of several texts, write Literal["good", "bad"].'


def test_an_unknown_class_in_a_union_is_no_list_of_texts():
    ticket = make_dataclass("Ticket", [("topic", "Topic | None")])

    with pytest.raises(SchemaError) as caught:
        read_dataclass(ticket)
    assert "Literal" not in caught.value.hint


@dataclass
class Files:
    names: list[str]


@dataclass
class Other:
    name: str


class Typed(TypedDict):
    a: int


class Named(NamedTuple):
    a: int


class Plain(tuple[int, ...]):
    size: int


RECORD = Files(["a"])


@pytest.mark.parametrize(
    ("given", "said", "cure"),
    [
        (RECORD, "Files(...) is a record: pass the class, not a record", "Write Files"),
        ([Files], "a list with Files in it is not a dataclass", "Pass the class itself, Files"),
        ((Files, Other), "a tuple of classes is not a dataclass", "Files | Other"),
        ([RECORD], "a list is not a dataclass", "Pass the class"),
        ("Files", "Files is not a dataclass", "without quotes"),
        ("x" * 1000, "a str is not a dataclass", "without quotes"),
        (None, "None is not a dataclass", "Pass the class"),
        ({"names": []}, "a dict is not a dataclass", "fields of a dataclass"),
        (3, "3 is not a dataclass", "Make a dataclass"),
        (list[Files], "is not a dataclass", "as a field"),
        (Files | Other, "is not a dataclass", "as a field"),
    ],
)
def test_what_stands_in_the_place_of_a_class_is_named_with_the_cure(
    given: Any, said: str, cure: str
):
    for use in (schema_of, mdl, json_schema, lambda kind: decode("{}", kind)):
        with pytest.raises(SchemaError) as caught:
            use(given)
        assert said in str(caught.value)
        assert cure in caught.value.hint


@pytest.mark.parametrize(
    ("given", "said", "cure"),
    [
        (Files, "Files is a class: pass a record, not the class", "Files(...)"),
        ([RECORD], "list is not a dataclass", ".batch"),
        ("a", "str is not a dataclass", "Make a record"),
        ({"names": []}, "dict is not a dataclass", "Make a record"),
        (None, "NoneType is not a dataclass", "Pass a record"),
        (int, "type is not a dataclass", "Pass a record"),
    ],
)
def test_what_stands_in_the_place_of_a_record_is_named_with_the_cure(
    given: Any, said: str, cure: str
):
    for use in (encode, validate):
        with pytest.raises(SchemaError) as caught:
            use(given)
        assert said in str(caught.value)
        assert cure in caught.value.hint


@pytest.mark.parametrize(
    ("hint", "said", "cure"),
    [
        (Counter[str], "collections.Counter[str] is not supported", "dict[str, int]"),
        (Counter, "Counter is not supported", "dict[str, int]"),
        (OrderedDict[str, int], "is not supported", "dict[str, ...]"),
        (defaultdict[str, int], "is not supported", "dict[str, ...]"),
        (ChainMap[str, int], "is not supported", "dict[str, ...]"),
        (Typed, "is a TypedDict", "@dataclass"),
        (Named, "is a NamedTuple", "@dataclass"),
        (Plain, "the places of a tuple", "list[...]"),
    ],
)
def test_kinds_of_dict_and_tuple_are_called_by_their_own_names(hint: Any, said: str, cure: str):
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]))

    assert said in str(caught.value)
    assert cure in caught.value.hint

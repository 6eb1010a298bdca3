"""The words for a type that is refused; which types are, test_annotations says."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, defaultdict
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
import pandas as pd
import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import Length, decode, encode, json_schema, mdl, schema_of, validate
from conduit_nb.schemas.annotations import read_dataclass
from conduit_nb.schemas.refusals import SUPPORTED, not_a_dataclass, refusal, type_name
from tests.schemas.records import has_facts


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

    assert error.path == "$.f"
    assert has_facts(str(error), "range")
    assert SUPPORTED in error.hint


def test_a_class_is_to_be_decorated_and_a_plain_type_to_be_wrapped():
    own, plain = not_a_dataclass(Outer), not_a_dataclass(int)

    assert has_facts(str(own), "Outer", "dataclass")
    assert has_facts(str(plain), "int", "dataclass")
    assert "@dataclass" in own.hint
    assert has_facts(plain.hint, "dataclass")
    assert "@dataclass" not in plain.hint


@pytest.mark.parametrize(
    ("hint", "cure"),
    [
        (pd.Timestamp, "datetime"),
        (np.int64, "int, float"),
        (pd.Series, SUPPORTED),
    ],
)
def test_types_of_pandas_and_numpy_are_refused_with_the_type_of_python(hint: type, cure: str):
    error = refusal(hint, "$.f")

    assert has_facts(str(error), hint.__name__)
    assert has_facts(error.hint, cure)
    assert (SUPPORTED in error.hint) == (cure == SUPPORTED)


def test_a_table_in_the_place_of_a_class_is_described_by_its_class():
    frame = pd.DataFrame({"text": ["long " * 100]})
    error = not_a_dataclass(frame)

    assert error.path == "$"
    assert has_facts(str(error), "DataFrame", "dataclass")
    assert "long" not in str(error)


def test_a_text_that_lists_values_is_refused_with_the_literal():
    ticket = make_dataclass("Ticket", [("topic", "good, bad")])

    with pytest.raises(SchemaError) as caught:
        read_dataclass(ticket)
    assert 'Literal["good", "bad"]' in caught.value.hint


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
NAME_OF_LIST = f"list[{__name__}.Files]"


@pytest.mark.parametrize(
    ("given", "facts", "cure"),
    [
        (RECORD, ("Files(...)", "class"), ("Files",)),
        ([Files], ("list", "Files", "dataclass"), ("Files", "list[Files]")),
        ((Files, Other), ("tuple", "classes", "dataclass"), ("Files | Other",)),
        ([RECORD], ("list", "dataclass"), ("class", ".batch")),
        ("Files", ("Files", "dataclass"), ("class", "quotes")),
        ("x" * 1000, ("str", "dataclass"), ("class", "quotes")),
        (None, ("None", "dataclass"), ("class",)),
        ({"names": []}, ("dict", "dataclass"), ("fields", "dataclass", "class")),
        (3, ("3", "dataclass"), ("dataclass", "field")),
        (list[Files], (NAME_OF_LIST, "dataclass"), ("dataclass", "field")),
        (Files | Other, ("Files", "Other", "dataclass"), ("dataclass", "field")),
    ],
)
def test_what_stands_in_the_place_of_a_class_is_named_with_the_cure(
    given: Any, facts: tuple[str, ...], cure: tuple[str, ...]
):
    for use in (schema_of, mdl, json_schema, lambda kind: decode("{}", kind)):
        with pytest.raises(SchemaError) as caught:
            use(given)
        assert caught.value.path == "$"
        assert has_facts(str(caught.value), *facts)
        assert len(str(caught.value)) < 100
        assert has_facts(caught.value.hint, *cure)


@pytest.mark.parametrize(
    ("given", "facts", "cure"),
    [
        (Files, ("Files", "class"), ("Files(...)",)),
        ([RECORD], ("list", "dataclass"), ("record", ".batch")),
        ("a", ("str", "dataclass"), ("record", "field")),
        ({"names": []}, ("dict", "dataclass"), ("record", "field")),
        (None, ("NoneType", "dataclass"), ("record", "instance")),
        (int, ("type", "dataclass"), ("record", "instance")),
    ],
)
def test_what_stands_in_the_place_of_a_record_is_named_with_the_cure(
    given: Any, facts: tuple[str, ...], cure: tuple[str, ...]
):
    for use in (encode, validate):
        with pytest.raises(SchemaError) as caught:
            use(given)
        assert caught.value.path == "$"
        assert has_facts(str(caught.value), *facts)
        assert has_facts(caught.value.hint, *cure)


@pytest.mark.parametrize(
    ("hint", "facts", "cure"),
    [
        (Counter[str], ("collections.Counter[str]",), "dict[str, int]"),
        (Counter, ("Counter",), "dict[str, int]"),
        (OrderedDict[str, int], ("collections.OrderedDict[str, int]",), "dict[str, ...]"),
        (defaultdict[str, int], ("collections.defaultdict[str, int]",), "dict[str, ...]"),
        (ChainMap[str, int], ("collections.ChainMap[str, int]",), "dict[str, ...]"),
        (Typed, ("Typed", "TypedDict", "dataclass"), "@dataclass"),
        (Named, ("Named", "NamedTuple", "dataclass"), "@dataclass"),
        (Plain, ("Plain", "tuple"), "list[...]"),
    ],
)
def test_kinds_of_dict_and_tuple_are_called_by_their_own_names(
    hint: Any, facts: tuple[str, ...], cure: str
):
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]))

    assert caught.value.path == "$.f"
    assert has_facts(str(caught.value), *facts)
    assert has_facts(caught.value.hint, cure)


@dataclass
class Endless:
    next: Endless


@dataclass
class Left:
    right: Right


@dataclass
class Right:
    lefts: Annotated[list[Left], Length(1)]


@dataclass
class Ending:
    next: Ending | None
    more: list[Ending]
    named: dict[str, Ending]


@dataclass
class Chosen:
    way: Chosen | str


@pytest.mark.parametrize("cls", [Endless, Left, Right])
def test_a_record_that_no_finite_text_can_fill_is_refused(cls: type[object]):
    with pytest.raises(SchemaError, match=rf"\b{cls.__name__}\b.*\b{cls.__name__}\b") as caught:
        schema_of(cls)

    assert "X | None" in caught.value.hint
    assert "list[X]" in caught.value.hint


@pytest.mark.parametrize("cls", [Ending, Chosen])
def test_recursion_that_can_end_is_taken(cls: type[object]):
    assert schema_of(cls).mdl

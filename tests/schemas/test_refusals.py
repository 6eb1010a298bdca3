"""The words for a type that is refused; which types are, test_annotations says."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conduit_nb.errors import SchemaError
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

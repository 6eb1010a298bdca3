"""The words for a type that is refused; which types are, test_annotations says."""

from __future__ import annotations

from typing import Any

import pytest

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

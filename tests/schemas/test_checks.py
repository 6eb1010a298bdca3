"""What only a whole schema shows: records without an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import Length, schema_of


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

"""schemas/expected.py: about how long an answer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from conduit_nb.schemas import Length, encode, schema_of
from conduit_nb.schemas.expected import expected_characters


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    stars: int
    is_sure: bool


@dataclass
class Order:
    verdicts: list[Verdict]
    note: Annotated[str, Length(0, 10)]


@dataclass
class Tree:
    children: list[Tree]


VERDICT = Verdict(mood="good", stars=5, is_sure=True)


@pytest.mark.parametrize(
    "record", [VERDICT, Order(verdicts=[VERDICT, VERDICT, VERDICT], note="by friday")]
)
def test_it_is_near_what_such_a_record_really_has(record: Any):
    expected = expected_characters(schema_of(type(record)).shape)

    assert 0.7 < expected / len(encode(record)) < 1.4


def test_bounds_count_and_a_record_inside_of_itself_ends():
    @dataclass
    class Long:
        text: Annotated[str, Length(500, 900)]

    assert expected_characters(schema_of(Long).shape) > 500
    assert 0 < expected_characters(schema_of(Tree).shape) < 100_000

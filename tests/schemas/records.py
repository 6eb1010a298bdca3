"""Records of every type, and what tests ask of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal

import pytest

from conduit_nb.errors import Problem, ValidationError


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


ExpectedProblem = tuple[str, str, tuple[str, ...]]
"""A problem: its path, its kind, and the facts in its message, in their order."""


def problems_of(call: Any, *args: object) -> tuple[Problem, ...]:
    with pytest.raises(ValidationError) as caught:
        call(*args)
    return caught.value.problems


def check_problems(found: Iterable[Problem], *expected: ExpectedProblem) -> None:
    """Assert that exactly these problems were found, whatever their wording."""
    found = tuple(found)
    assert [(one.path, one.kind) for one in found] == [(path, kind) for path, kind, _ in expected]
    for problem, (_, _, facts) in zip(found, expected, strict=True):
        assert has_facts(problem.message, *facts), (problem.message, facts)


def has_facts(text: str, *facts: str) -> bool:
    """Return whether names, values and numbers occur in `text` in this order, as whole words."""
    pattern = ".*".join(rf"(?<!\w){re.escape(fact)}(?!\w)" for fact in facts)
    return re.search(pattern, text, re.DOTALL) is not None


def holder_of(hint: Any) -> Any:
    return make_dataclass("Holder", [("f", hint)])

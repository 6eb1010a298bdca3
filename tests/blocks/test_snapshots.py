"""blocks/snapshots.py: copies that later changes to the caller's objects do not reach."""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytest

from conduit_nb.blocks.snapshots import snapshot, snapshots

T = TypeVar("T")


class Mood(enum.Enum):
    GOOD = "good"


@dataclass
class Part:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    parts: list[Part]


@dataclass
class Page(Generic[T]):
    items: list[T]


class Pair(NamedTuple):
    left: list[int]
    right: int


def set_tag(part: Part) -> None:
    part.tags.append("new")


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, 2], lambda value: value.reverse()),
        ([[1], [2]], lambda value: value[0].append(3)),
        ({"a": {"b": 1}}, lambda value: value["a"].update(b=2)),
        (({"a": 1}, 2), lambda value: value[0].clear()),
        (Pair([1], 2), lambda value: value.left.append(3)),
        ({1, 2}, lambda value: value.add(3)),
        (bytearray(b"a"), lambda value: value.append(1)),
        (Part("a", ["x"]), set_tag),
        (Part("a", ["x"]), lambda value: setattr(value, "name", "b")),
        (Frozen([Part("a")]), lambda value: set_tag(value.parts[0])),
        (Page[Part]([Part("a")]), lambda value: value.items.clear()),
    ],
)
def test_a_change_to_the_original_is_not_seen(value: Any, change: Callable[[Any], None]):
    before = copy.deepcopy(value)

    taken = snapshot(value)
    change(value)

    assert taken == before != value
    assert type(taken) is type(before)


def test_arrays_are_copied():
    array = np.array([1, 2])

    taken = snapshot({"a": array})
    array[0] = 9

    assert list(taken["a"]) == [1, 2]


def test_what_cannot_change_is_the_same_object():
    for value in ("text", 3, None, b"x", Mood.GOOD, ("a", 1), Part, ValueError("x")):
        assert snapshot(value) is value


def test_the_arguments_of_a_generic_record_are_kept():
    assert snapshot(Page[int]([1])).__orig_class__ == Page[int]  # pyright: ignore[reportAttributeAccessIssue]  # typing sets it


def test_a_record_inside_of_itself_is_taken_as_it_is():
    page: Page[Any] = Page([])
    page.items.append(page)

    assert snapshot(page) is page


def test_snapshots_are_a_list_of_their_own():
    rows = [Part("a")]

    taken = snapshots(rows)
    rows.append(Part("b"))

    assert taken == [Part("a")]

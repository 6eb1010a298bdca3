"""Shapes as their readers see them."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.schemas import schema_of
from conduit_nb.schemas.shapes import (
    Int,
    List,
    Map,
    Null,
    Record,
    Str,
    Union,
    children,
    walk,
    without_null,
)


@dataclass
class Leaf:
    value: int


@dataclass
class Tree:
    left: Leaf
    right: Leaf | None
    below: list[dict[str, Tree]]


def test_without_null_takes_an_optional_shape_apart():
    assert without_null(Int()) == (Int(), False)
    assert without_null(Union((Int(), Null()))) == (Int(), True)
    assert without_null(Union((Int(), Str(), Null()))) == (Union((Int(), Str())), True)
    assert without_null(Union((Int(), Str()))) == (Union((Int(), Str())), False)


def test_walk_visits_every_place_and_each_record_once():
    tree = schema_of(Tree).shape

    places = [(path, type(shape), is_new) for path, shape, is_new in walk(tree)]

    assert places == [
        ("$", Record, True),
        ("$.left", Record, True),
        ("$.left.value", Int, True),
        ("$.right", Union, True),
        ("$.right", Record, False),
        ("$.right", Null, True),
        ("$.below", List, True),
        ("$.below[]", Map, True),
        ("$.below[]{}", Record, False),
    ]


def test_children_are_the_shapes_right_below():
    assert children(Int()) == ()
    assert children(List(Int())) == (Int(),)
    assert children(Map(Str())) == (Str(),)
    assert children(Union((Int(), Null()))) == (Int(), Null())
    assert children(schema_of(Leaf).shape) == (Int(),)


def test_a_recursive_record_has_a_short_repr():
    assert len(repr(schema_of(Tree).shape)) < 200

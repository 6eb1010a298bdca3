"""Estimate the length of a JSON answer from its shape. For estimates only, not a limit."""

from __future__ import annotations

from conduit_nb.schemas.shapes import (
    Bool,
    Bytes,
    Choice,
    Date,
    DateTime,
    EnumChoice,
    Float,
    Int,
    Length,
    List,
    Map,
    Null,
    Record,
    Shape,
    Str,
    Union,
)

TEXT_CHARACTERS = 40  # assumed length of a text without bounds
ITEMS = 3  # assumed number of items or keys
MAX_DEPTH = 6


def expected_characters(shape: Shape, *, depth: int = 0) -> int:
    """Return the expected number of characters; recursion is cut off at MAX_DEPTH."""
    if depth > MAX_DEPTH:
        return 2
    inner = depth + 1
    match shape:
        case Str(length=length):
            return 2 + _within(TEXT_CHARACTERS, length)
        case Bytes():
            return 2 + TEXT_CHARACTERS
        case Int():
            return 3
        case Float():
            return 5
        case Bool() | Null():
            return 5
        case Date():
            return 12
        case DateTime():
            return 27
        case Choice() | EnumChoice():
            sizes = [len(str(value)) for value in shape.values]
            return 2 + sum(sizes) // max(len(sizes), 1)
        case List(item=item, length=length):
            return 2 + _within(ITEMS, length) * (1 + expected_characters(item, depth=inner))
        case Map(value=value, length=length):
            each = 15 + expected_characters(value, depth=inner)
            return 2 + _within(ITEMS, length) * each
        case Union(members=members):
            return max(expected_characters(member, depth=inner) for member in members)
        case Record(fields=fields):
            return 2 + sum(
                len(field.name) + 4 + expected_characters(field.shape, depth=inner)
                for field in fields
            )


def _within(usual: int, length: Length) -> int:
    minimum = max(usual, length.min)
    return minimum if length.max is None else min(minimum, length.max)

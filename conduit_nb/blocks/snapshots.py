"""Copies of what a caller hands over, taken when the work begins.

A notebook goes on while rows are in flight: what its cells do to their lists, dicts and records
afterwards must change neither a question that is still to be asked nor the row of an answer.
Layer 3.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeVar, cast

T = TypeVar("T")

_IMMUTABLE = (str, int, float, bool, bytes, type(None), Enum, type)


def snapshot(value: T) -> T:
    """Return `value` with copies of the lists, dicts, sets, arrays and dataclass records in it.

    Everything else is taken as it is, and so is what is nested too deeply to be copied.
    """
    try:
        return cast("T", _copied(value))
    except RecursionError:  # a cycle, which every check refuses with its path
        return value


def snapshots(values: Iterable[T]) -> list[T]:
    """Return a list of its own with a copy of each value."""
    return [snapshot(value) for value in values]


def _copied(value: Any) -> Any:
    if isinstance(value, _IMMUTABLE):
        return value
    match value:
        case list():
            made = copy.copy(cast("list[Any]", value))
            made[:] = [_copied(item) for item in made]
            return made
        case dict():
            table = copy.copy(cast("dict[Any, Any]", value))
            for key, item in table.items():
                table[key] = _copied(item)
            return table
        case tuple():
            return _copied_tuple(cast("tuple[Any, ...]", value))
        case set() | bytearray():
            return copy.copy(cast("set[Any] | bytearray", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, BaseException):
            return _copied_record(value)
        case _:
            numpy = sys.modules.get("numpy")
            is_array = numpy is not None and isinstance(value, numpy.ndarray)
            return copy.deepcopy(value) if is_array else value


def _copied_tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    items = [_copied(item) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    make = getattr(type(value), "_make", tuple)  # of a named tuple
    return make(items)


def _copied_record(record: Any) -> Any:
    made = copy.copy(record)
    names = dict.fromkeys([*getattr(record, "__dict__", {}), *record.__dataclass_fields__])
    for name in names:
        if not hasattr(made, name):  # a field that was never given a value
            continue
        before = getattr(made, name)
        after = _copied(before)
        if after is not before:
            object.__setattr__(made, name, after)
    return made

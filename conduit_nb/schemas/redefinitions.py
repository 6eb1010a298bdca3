"""Classes that are defined again: by a cell that runs a second time, by a module that is reloaded.

A reload makes new classes under the old names, or (IPython's autoreload) changes the old ones in
place. What was made of a class before, a schema or a record, still holds the earlier one. Here is
found whether that is so, and which class took its place.
Layer 1.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast, get_args, get_origin
from weakref import WeakSet

from conduit_nb.schemas.shapes import EnumChoice, List, Map, Record, Shape, Union

_BOUND: WeakSet[type[Any]] = WeakSet()
"""Classes that were seen under their own name: what stands there later took their place."""


def bound_class(cls: type[Any]) -> type[Any] | None:
    """Return the class that the module and the name of `cls` lead to now; None for no class."""
    name = cls.__qualname__
    module = sys.modules.get(cls.__module__)
    if module is None or "<" in name:  # of a function, whose names nobody else can see
        return None
    found: Any = vars(module).get(name)
    if "." in name:
        found = module
        for step in name.split("."):
            found = getattr(found, "__dict__", {}).get(step)
    return found if isinstance(found, type) else None


def successor(kind: Any) -> Any:
    """Return the class that was defined under the same name after `kind`, else `kind` itself.

    Of a generic dataclass with arguments, the arguments are replaced too.
    """
    if not isinstance(kind, type) or get_args(kind):
        return _with_arguments(kind)
    cls = cast("type[Any]", kind)
    found = bound_class(cls)
    if found is None or found is cls or not (cls in _BOUND or _is_of_a_statement(cls)):
        return cls
    is_enum = issubclass(cls, Enum) and issubclass(found, Enum)
    is_record = dataclasses.is_dataclass(cls) and dataclasses.is_dataclass(found)
    return found if is_enum or is_record else cls


def _with_arguments(kind: Any) -> Any:
    origin: Any = get_origin(kind)
    arguments = get_args(kind)
    if not isinstance(origin, type) or not dataclasses.is_dataclass(origin):
        return kind
    cls = successor(cast("type[Any]", origin))
    following = tuple(successor(argument) for argument in arguments)
    if cls is origin and all(a is b for a, b in zip(arguments, following, strict=True)):
        return kind
    return cast("Any", cls)[following]


def _is_of_a_statement(cls: type[Any]) -> bool:
    """Say whether a `class` statement made `cls`, and so bound it to its name once.

    Such a body begins by setting `__module__`; dataclasses that functions make get it at their
    end. Of an Enum it cannot be told: their names are taken for theirs.
    """
    return issubclass(cls, Enum) or next(iter(vars(cls)), None) == "__module__"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What some classes were when a schema was made of them."""

    parts: tuple[tuple[type[Any], object, type[Any] | None], ...]

    @classmethod
    def of(cls, classes: Iterable[type[Any]]) -> Stamp:
        """Take the stamp of classes as they are now."""
        parts = tuple((one, definition_of(one), bound_class(one)) for one in classes)
        _BOUND.update(one for one, _, bound in parts if one is bound)
        return cls(parts)

    @property
    def is_current(self) -> bool:
        """Whether none of the classes was changed or defined again. Takes microseconds."""
        for cls, definition, bound in self.parts:
            if definition_of(cls) is not definition or bound_class(cls) is not bound:
                return False
        return True


def definition_of(cls: type[Any]) -> object:
    """Return an object that is another one when a reload has changed the class in place."""
    attributes = vars(cls)
    found = attributes.get("__dataclass_fields__")
    return attributes.get("_member_map_") if found is None else found


def are_alike(one: Shape, other: Shape) -> bool:
    """Say whether both have the same structure: equal names, fields and bounds, whatever classes.

    A record of the one is then also one of the other.
    """
    waiting: list[tuple[Shape, Shape]] = [(one, other)]
    assumed: set[tuple[int, int]] = set()
    while waiting:
        mine, theirs = waiting.pop()
        pair = (id(mine), id(theirs))
        if mine is theirs or pair in assumed:  # a recursive dataclass comes back to itself
            continue
        if isinstance(mine, Record):
            assumed.add(pair)
        inside = _inside(mine, theirs)
        if inside is None:
            return False
        waiting += inside
    return True


def _inside(one: Shape, other: Shape) -> list[tuple[Shape, Shape]] | None:
    """Return the pairs that have to be alike where two shapes are; None where these differ."""
    match one, other:
        case Record(), Record():
            mine, theirs = ([(f.name, f.is_required) for f in r.fields] for r in (one, other))
            if one.name != other.name or mine != theirs:
                return None
            return [(a.shape, b.shape) for a, b in zip(one.fields, other.fields, strict=True)]
        case EnumChoice(), EnumChoice():
            is_equal = one.cls.__name__ == other.cls.__name__ and one.members == other.members
            return [] if is_equal else None
        case List(), List():
            return [(one.item, other.item)] if one.length == other.length else None
        case Map(), Map():
            return [(one.value, other.value)] if one.length == other.length else None
        case Union(), Union():
            is_equal = len(one.members) == len(other.members)
            return list(zip(one.members, other.members, strict=True)) if is_equal else None
        case _:
            return [] if one == other else None

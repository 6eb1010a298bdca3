"""The structure of a dataclass as small frozen nodes, independent of type hints and JSON text.

Read it with `match`:

    match shape:
        case Str() | Date() | DateTime() | Bytes(): ...
        case Record(fields=fields): ...

`X | None` is a Union whose last member is Null; `without_null` takes the two apart. A Record is
one object for each class (and each set of type arguments) in a schema and compares by identity,
so that a recursive dataclass is a cycle of nodes: remember which records you have visited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool


def _typed(bounds: Length | Range) -> list[Any]:
    """Return bounds with their types: typing caches hints by ==, which equates 1, 1.0 and True."""
    values = [getattr(bounds, one.name) for one in fields(bounds)]
    return [(type(value), value) for value in values]


@dataclass(frozen=True, slots=True)
class Length:
    """The number of characters of a `str`, items of a `list`, keys of a `dict`: `Length(1, 80)`."""

    min: int = 0
    max: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Length) and _typed(self) == _typed(other)

    def __hash__(self) -> int:
        return hash(tuple(_typed(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The bounds of an `int` or `float`: `Range(ge=1, le=5)`, `Range(gt=0)`."""

    ge: int | float | None = None
    gt: int | float | None = None
    le: int | float | None = None
    lt: int | float | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and _typed(self) == _typed(other)

    def __hash__(self) -> int:
        return hash(tuple(_typed(self)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that a whole `str` matches: `Pattern("[A-Z]{3}-[0-9]+")`."""

    regex: str


@dataclass(frozen=True, slots=True)
class Str:
    """Text. `pattern` is a regex of the common subset, without anchors; it matches a whole text."""

    length: Length = Length()
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number, of any size."""

    range: Range = Range()


@dataclass(frozen=True, slots=True)
class Float:
    """A finite number; whole numbers are accepted."""

    range: Range = Range()


@dataclass(frozen=True, slots=True)
class Bool:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Null:
    """None. Occurs only as the last member of a Union."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes: in JSON base64 text, or `{"base64": text}` in a union that holds text too."""

    is_object: bool = False


@dataclass(frozen=True, slots=True)
class Date:
    """A day, in JSON `2024-12-31`."""


@dataclass(frozen=True, slots=True)
class DateTime:
    """An aware point in time, in JSON `2024-12-31T23:59:00+01:00`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values: a `Literal`."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class EnumChoice:
    """A member of an `Enum`, in JSON its value. `members` are a copy, made at construction."""

    cls: type[Enum]
    members: tuple[tuple[str, Scalar], ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        members = tuple((member.name, member.value) for member in self.cls)
        object.__setattr__(self, "members", members)

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The values of the members, in order."""
        return tuple(value for _, value in self.members)


@dataclass(frozen=True, slots=True)
class List:
    """Items of one shape."""

    item: Shape
    length: Length = Length()


@dataclass(frozen=True, slots=True)
class Map:
    """A `dict` from text to values of one shape."""

    value: Shape
    length: Length = Length()


@dataclass(frozen=True, slots=True)
class Union:
    """One of several shapes that a JSON value distinguishes."""

    members: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a Record. `is_required`: its key must be present in the JSON.

    `default` is the plain default value; None where there is none (see `has_default`) or where a
    factory makes it.
    """

    name: str
    shape: Shape
    description: str = ""
    is_required: bool = True
    has_default: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A dataclass. `fields` are set once, when the whole schema has been read.

    `arguments` are the type arguments of a generic one (`Page[Item]`).
    """

    name: str
    cls: type[Any]
    doc: str = ""
    arguments: tuple[Any, ...] = ()
    fields: tuple[Field, ...] = field(default=(), repr=False)


Shape: TypeAlias = (
    Str
    | Int
    | Float
    | Bool
    | Null
    | Bytes
    | Date
    | DateTime
    | Choice
    | EnumChoice
    | List
    | Map
    | Record
    | Union
)


def without_null(shape: Shape) -> tuple[Shape, bool]:
    """Return the shape without None, and whether None is allowed."""
    if not isinstance(shape, Union) or Null() not in shape.members:
        return shape, False
    rest = tuple(member for member in shape.members if member != Null())
    return (rest[0] if len(rest) == 1 else Union(rest)), True


def children(shape: Shape) -> tuple[Shape, ...]:
    """Return the shapes right below `shape`."""
    match shape:
        case List(item=item):
            return (item,)
        case Map(value=value):
            return (value,)
        case Record(fields=fields):
            return tuple(field.shape for field in fields)
        case Union(members=members):
            return members
        case _:
            return ()


def walk(root: Shape) -> Iterator[tuple[str, Shape, bool]]:
    """Yield path, shape and whether it is new for `root` and everything below it.

    A Record that was visited before is not descended into again.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, Shape]] = [("$", root)]
    while waiting:  # not recursively: dataclasses may nest deeper than the stack allows
        path, shape = waiting.pop()
        is_new = not isinstance(shape, Record) or id(shape) not in seen
        yield path, shape, is_new
        if not is_new:
            continue
        inside: list[tuple[str, Shape]] = []
        match shape:
            case List(item=item):
                inside = [(f"{path}[]", item)]
            case Map(value=value):
                inside = [(f"{path}{{}}", value)]
            case Record(fields=fields):
                seen.add(id(shape))
                inside = [(f"{path}.{one.name}", one.shape) for one in fields]
            case Union(members=members):
                inside = [(path, member) for member in members]
            case _:
                pass
        waiting += reversed(inside)


def are_alike(one: Shape, other: Shape) -> bool:
    """Return whether both have the same structure: equal names, fields and bounds.

    The classes may differ: a record of the one is then also a record of the other.
    """
    waiting: list[tuple[Shape, Shape]] = [(one, other)]
    assumed: set[tuple[int, int]] = set()
    while waiting:
        mine, theirs = waiting.pop()
        pair = (id(mine), id(theirs))
        if mine is theirs or pair in assumed:  # a recursive dataclass
            continue
        if isinstance(mine, Record):
            assumed.add(pair)
        inside = _inside(mine, theirs)
        if inside is None:
            return False
        waiting += inside
    return True


def _inside(one: Shape, other: Shape) -> list[tuple[Shape, Shape]] | None:
    """Return the inner pairs that must be alike too, None where the shapes themselves differ."""
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

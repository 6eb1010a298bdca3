"""Find the member of a union that a value belongs to: by JSON type, fixed values or keys.

Two members are distinct when no JSON value fits both. Scalars differ by JSON type (a whole number
counts as `int` where the union has one, else as `float`) or by the values that they allow; two
dataclasses by a required field of disjoint fixed values (`kind: Literal["a"]`), or because one
requires a key that the other does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import Enum
from itertools import combinations
from typing import Any, Literal, TypeAlias, cast

from conduit_nb.schemas.shapes import (
    Bool,
    Bytes,
    Choice,
    Date,
    DateTime,
    EnumChoice,
    Float,
    Int,
    List,
    Map,
    Null,
    Range,
    Record,
    Scalar,
    Shape,
    Str,
    Union,
)

Kind: TypeAlias = Literal["string", "integer", "fraction", "bool", "null", "array", "object"]
Claims: TypeAlias = dict[Kind, frozenset[Scalar] | None]


def confused(union: Union) -> tuple[Shape, Shape] | None:
    """Return two members that one JSON value could fit, None where all are distinct."""
    has_int = any(isinstance(member, Int) for member in union.members)
    for one, other in combinations(union.members, 2):
        if _overlap(one, other, has_int=has_int):
            return one, other
    return None


def json_chooser(union: Union) -> Callable[[Any], int | None]:
    """Return a function that returns the index of the member for a parsed JSON value, or None."""
    has_int = any(isinstance(member, Int) for member in union.members)
    by_kind: dict[Kind, list[tuple[int, frozenset[Scalar] | None]]] = {}
    for index, member in enumerate(union.members):
        for kind, values in _claims(member, has_int=has_int).items():
            by_kind.setdefault(kind, []).append((index, values))
    indices = [index for index, _ in by_kind.get("object", [])]
    objects = [_keys_of(index, union.members[index]) for index in indices]
    tag = tag_of([union.members[index] for index in indices])

    def choose(value: Any) -> int | None:
        kind = _kind(value)
        candidates = by_kind.get(kind, [])
        if kind == "object":
            return _fitting_object(objects, value, tag)
        for index, values in candidates:
            if values is None or (value in values):
                return index
        return candidates[0][0] if len(candidates) == 1 else None

    return choose


def python_chooser(union: Union) -> Callable[[Any], int | None]:
    """Return a function that returns the index of the member for a Python value, or None."""
    exact: dict[type[Any], int] = {}
    alike: dict[type[Any], list[_Keys]] = {}  # Page[A] and Page[B] have one class
    for index, member in enumerate(union.members):
        for kind in _python_types(member):
            exact[kind] = index
        if isinstance(member, Record):
            alike.setdefault(member.cls, []).append(_keys_of(index, member))
    alike = {cls: keys for cls, keys in alike.items() if len(keys) > 1}
    loose = [
        (kind, exact[kind])
        for kind in (bool, int, float, str, bytes, datetime, date, list, dict)
        if kind in exact
    ]
    if float in exact and int not in exact:
        exact[int] = exact[float]

    def choose(value: Any) -> int | None:
        index = exact.get(cast("type[Any]", type(value)))
        if alike and type(value) in alike:
            return _fitting_object(alike[type(value)], _shown(value))
        if index is not None or isinstance(value, Enum):
            return index
        for base, number in loose:
            if isinstance(value, base):
                return number
        return None

    return choose


def _claims(shape: Shape, *, has_int: bool) -> Claims:
    match shape:
        case Str() | Date() | DateTime():
            return {"string": None}
        case Bytes(is_object=is_object):
            return {"object": None} if is_object else {"string": None}
        case Int():
            return {"integer": None}
        case Float(range=range_):
            # With bounds, 2.0 is written as 2: see formats.BoundedFloat.
            is_apart = has_int and range_ == Range()
            return {"fraction": None} if is_apart else {"fraction": None, "integer": None}
        case Bool():
            return {"bool": None}
        case Null():
            return {"null": None}
        case List():
            return {"array": None}
        case Map() | Record():
            return {"object": None}
        case Choice(values=values):
            return _claims_of(values)
        case EnumChoice():
            return _claims_of(shape.values)
        case Union():
            raise AssertionError("a union is flat")


def _claims_of(values: tuple[Scalar, ...]) -> Claims:
    kinds: dict[Kind, set[Scalar]] = {}
    for value in values:
        kinds.setdefault(_kind(value), set()).add(value)
        if isinstance(value, float) and value.is_integer():
            kinds.setdefault("integer", set()).add(value)
    return {kind: frozenset(claimed) for kind, claimed in kinds.items()}


def _kind(value: Any) -> Kind:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "fraction"
        case None:
            return "null"
        case list():
            return "array"
        case _:
            return "object"


def _overlap(one: Shape, other: Shape, *, has_int: bool) -> bool:
    if isinstance(one, EnumChoice) and isinstance(other, EnumChoice) and one.cls is other.cls:
        return True
    mine, theirs = _claims(one, has_int=has_int), _claims(other, has_int=has_int)
    for kind in mine.keys() & theirs.keys():
        if kind == "object":
            if _objects_overlap(one, other):
                return True
            continue
        my_values, their_values = mine[kind], theirs[kind]
        if my_values is None or their_values is None or my_values & their_values:
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys and fixed values of an object that is member `index`."""

    index: int
    required: frozenset[str]
    known: frozenset[str] | None
    fixed: dict[str, frozenset[tuple[bool, Scalar]]]

    def misfits(self, value: dict[str, Any]) -> tuple[int, int]:
        """Return the number of wrong fixed values and of wrong keys in `value`."""
        wrong = sum(
            1
            for name, values in self.fixed.items()
            if name in value and not _is_among(value[name], values)
        )
        if self.known is None:
            return wrong, 0
        keys = value.keys()
        return wrong, len(self.required - keys) + len(keys - self.known)


def _keys_of(index: int, shape: Shape) -> _Keys:
    match shape:
        case Bytes():
            return _Keys(index, frozenset({"base64"}), frozenset({"base64"}), {})
        case Record(fields=known):
            return _Keys(
                index,
                frozenset(field.name for field in known if field.is_required),
                frozenset(field.name for field in known),
                {
                    field.name: frozenset((isinstance(v, bool), v) for v in field.shape.values)
                    for field in known
                    if isinstance(field.shape, Choice | EnumChoice)
                },
            )
        case _:
            return _Keys(index, frozenset(), None, {})


def _objects_overlap(one: Shape, other: Shape) -> bool:
    mine, theirs = _keys_of(0, one), _keys_of(1, other)
    if mine.known is None or theirs.known is None:
        return True
    if mine.required - theirs.known or theirs.required - mine.known:
        return False
    return not any(
        name in theirs.fixed
        and not mine.fixed[name] & theirs.fixed[name]
        and (name in mine.required or name in theirs.required)
        for name in mine.fixed
    )


def tag_of(shapes: Sequence[Shape]) -> tuple[str, list[Scalar]] | None:
    """Return the tag: a field whose fixed values identify each dataclass, with all its values."""
    records = [shape for shape in shapes if isinstance(shape, Record)]
    keys = [_keys_of(index, record) for index, record in enumerate(records)]
    if len(keys) < 2:
        return None
    for name in keys[0].fixed:
        if all(name in one.fixed and name in one.required for one in keys):
            values = [one.fixed[name] for one in keys]
            if sum(map(len, values)) == len(frozenset[Any]().union(*values)):
                fields_ = [one for record in records for one in record.fields if one.name == name]
                return name, [value for one in fields_ for value in _values_of(one.shape)]
    return None


def _values_of(shape: Shape) -> tuple[Scalar, ...]:
    return shape.values if isinstance(shape, Choice | EnumChoice) else ()


def _fitting_object(
    objects: list[_Keys], value: dict[str, Any], tag: tuple[str, list[Scalar]] | None = None
) -> int | None:
    """Return the index of the member that is closest to `value`, for the most useful errors.

    Return None where its tag matches no member: the error is about the tag then.
    """
    if tag is not None and tag[0] in value:
        allowed = frozenset((isinstance(one, bool), one) for one in tag[1])
        if not _is_among(value[tag[0]], allowed):
            return None
    ranked = sorted((keys.misfits(value), keys.index) for keys in objects)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]


def _shown(record: Any) -> dict[str, Any]:
    """Return the fields of a record, Enum members as their values."""
    values = {one.name: getattr(record, one.name, None) for one in fields(record)}
    return {name: v.value if isinstance(v, Enum) else v for name, v in values.items()}


def _is_among(value: Any, values: frozenset[tuple[bool, Scalar]]) -> bool:
    return isinstance(value, str | int | float) and (isinstance(value, bool), value) in values


def _python_types(shape: Shape) -> Iterator[type[Any]]:
    match shape:
        case Str():
            yield str
        case Int():
            yield int
        case Float():
            yield float
        case Bool():
            yield bool
        case Null():
            yield type(None)
        case Bytes():
            yield bytes
        case Date():
            yield date
        case DateTime():
            yield datetime
        case List():
            yield list
        case Map():
            yield dict
        case Choice(values=values):
            yield from {type(value) for value in values}
        case EnumChoice(cls=cls) | Record(cls=cls):
            yield cls
        case Union():
            raise AssertionError("a union is flat")

"""Random dataclasses, and random records of them."""

from __future__ import annotations

import dataclasses
import itertools
import string
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

from hypothesis import strategies as st

from conduit_nb.schemas.shapes import Length, Pattern, Range

NUMBERS = itertools.count()
PATTERNS = (
    "[a-z]+",
    "[A-Z]{3}-[0-9]{1,4}",
    r"\d+(?:\.\d*)?",
    r"^[^\"\\\n]{0,5}$",
    "(?:ab|c)*d?",
    r".\w\s?",
    "[é-ü€]{2,}",
)
NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=6).filter(
    lambda name: name.isidentifier() and not __import__("keyword").iskeyword(name)
)
ZONES = st.builds(
    timezone, st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes))
)
SCALARS = st.one_of(
    st.text(max_size=6), st.integers(-(2**53), 2**53), st.booleans(), st.sampled_from([0.5, 2.0])
)


@dataclass(frozen=True)
class Typed:
    """A type hint, the values that it stands for, and by which JSON kinds it is known."""

    hint: Any
    values: st.SearchStrategy[Any]
    kinds: frozenset[str]


def typed(hint: Any, values: st.SearchStrategy[Any], *kinds: str) -> Typed:
    return Typed(hint, values, frozenset(kinds))


@st.composite
def texts(draw: st.DrawFn) -> Typed:
    kind = draw(st.sampled_from(["plain", "length", "pattern"]))
    if kind == "plain":
        return typed(str, st.text(), "string")
    if kind == "length":
        low = draw(st.integers(0, 3))
        high = draw(st.none() | st.integers(low, low + 4))
        values = st.text(min_size=low, max_size=high)
        return typed(Annotated[str, Length(low, high), "some text"], values, "string")
    regex = draw(st.sampled_from(PATTERNS))
    hint = Annotated[str, Pattern(regex)]
    # Our \d, \w and \s are ASCII, as in JSON Schema.
    values = st.from_regex(f"(?a:{regex.strip('^$')})", fullmatch=True)
    return typed(hint, values, "string")


@st.composite
def whole_numbers(draw: st.DrawFn) -> Typed:
    if draw(st.booleans()):
        return typed(int, st.integers(), "integer")
    low = draw(st.integers(-(2**53), 2**53 - 10))
    high = draw(st.integers(low, 2**53))
    values = st.integers(low, high)
    return typed(Annotated[int, Range(ge=low, le=high)], values, "integer")


@st.composite
def fractions(draw: st.DrawFn) -> Typed:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    match draw(st.sampled_from(["plain", "positive", "both", "below"])):
        case "plain":
            return typed(float, finite, "integer", "fraction")
        case "positive":
            values = st.floats(0, exclude_min=True, allow_infinity=False)
            return typed(Annotated[float, Range(gt=0)], values, "integer", "fraction")
        case "below":
            values = st.floats(max_value=2.5, allow_infinity=False)
            return typed(Annotated[float, Range(le=2.5)], values, "integer", "fraction")
        case _:
            bounds = st.builds(round, st.floats(-1e6, 1e6), st.integers(0, 8))
            bounds = bounds.map(lambda bound: bound + 0.0)  # never -0.0
            low, high = sorted((draw(bounds), draw(bounds)))
            hint = Annotated[float, Range(ge=low, le=high)]
            return typed(hint, st.floats(low, high), "integer", "fraction")


@st.composite
def literals(draw: st.DrawFn) -> Typed:
    values = draw(st.lists(SCALARS, min_size=1, max_size=4, unique_by=lambda v: (type(v), v)))
    return typed(
        Literal[tuple(values)], st.sampled_from(values), "string", "integer", "bool", "fraction"
    )


@st.composite
def enums(draw: st.DrawFn) -> Typed:
    values = draw(st.lists(SCALARS, min_size=1, max_size=4, unique=True))
    members = {f"M{number}": value for number, value in enumerate(values)}
    cls = Enum(f"Enum{next(NUMBERS)}", members)
    return typed(cls, st.sampled_from(list(cls)), "string", "integer", "bool", "fraction")


PLAIN = st.sampled_from(
    [
        typed(bool, st.booleans(), "bool"),
        typed(bytes, st.binary(max_size=20), "string"),
        typed(date, st.dates(), "string"),
        typed(datetime, st.datetimes(timezones=ZONES), "string"),
    ]
)


def lists_of(inner: Typed) -> st.SearchStrategy[Typed]:
    @st.composite
    def build(draw: st.DrawFn) -> Typed:
        low = draw(st.integers(0, 2))
        high = draw(st.none() | st.integers(low, low + 3))
        values = st.lists(
            inner.values, min_size=low, max_size=high if high is not None else low + 3
        )
        hint: Any = list[inner.hint]
        if low or high is not None:
            hint = Annotated[hint, Length(low, high)]
        return typed(hint, values, "array")

    return build()


def maps_of(inner: Typed) -> st.SearchStrategy[Typed]:
    @st.composite
    def build(draw: st.DrawFn) -> Typed:
        low = draw(st.integers(0, 2))
        high = draw(st.none() | st.integers(low, low + 2))
        size = high if high is not None else low + 2
        values = st.dictionaries(st.text(max_size=5), inner.values, min_size=low, max_size=size)
        hint: Any = dict[str, inner.hint]
        if low or high is not None:
            hint = Annotated[hint, Length(low, high)]
        return typed(hint, values, "object")

    return build()


@st.composite
def unions_of(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    members: list[Typed] = []
    for member in draw(st.lists(inner, min_size=1, max_size=4)):
        if not any(member.kinds & other.kinds for other in members):
            members.append(member)
    hint = Union[tuple(member.hint for member in members)]  # noqa: UP007  # made from a tuple
    values = st.one_of([member.values for member in members])
    kinds = frozenset[str]().union(*(member.kinds for member in members))
    if "null" not in kinds and draw(st.booleans()):
        return Typed(Optional[hint], values | st.none(), kinds | {"null"})  # noqa: UP045  # as above
    return Typed(hint, values, kinds)


@st.composite
def records_of(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    fields: list[Any] = []
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name in names:
        one = draw(inner)
        values[name] = one.values
        if not draw(st.booleans()):
            fields.append((name, one.hint, field(kw_only=True)))
            continue
        default = draw(one.values)
        made = (
            field(default_factory=lambda value=default: value, kw_only=True)
            if isinstance(default, list | dict) or dataclasses.is_dataclass(default)
            else field(default=default, kw_only=True)
        )
        fields.append((name, one.hint, made))
    cls = make_dataclass(draw(st.sampled_from(["Same", f"Record{next(NUMBERS)}"])), fields)
    return typed(cls, st.builds(cls, **values), "object")


@st.composite
def trees_of(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    """A dataclass that contains itself in two ways."""
    one = draw(inner)
    name = f"Tree{next(NUMBERS)}"
    fields = [("value", one.hint), ("next", f"{name} | None"), ("below", f"list[{name}]")]
    cls = make_dataclass(name, fields)
    leaves = st.builds(cls, one.values, st.none(), st.just([]))
    values = st.recursive(
        leaves,
        lambda below: st.builds(cls, one.values, st.none() | below, st.lists(below, max_size=2)),
        max_leaves=4,
    )
    return typed(cls, values, "object")


@st.composite
def tagged_of(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    """A union of dataclasses that a Literal field, or a key of their own, tells apart."""
    members: list[Typed] = []
    by_tag = draw(st.booleans())
    for number in range(draw(st.integers(2, 3))):
        one = draw(inner)
        name = f"Member{next(NUMBERS)}"
        if by_tag:
            tag = f"tag{number}"
            fields = [("value", one.hint), ("kind", Literal[tag], field(default=tag))]
            cls = make_dataclass(name, fields)
            members.append(typed(cls, st.builds(cls, one.values)))
        else:
            cls = make_dataclass(name, [("value", one.hint), (f"own{number}", int)])
            members.append(typed(cls, st.builds(cls, one.values, st.integers())))
    hint = Union[tuple(member.hint for member in members)]  # noqa: UP007  # made from a tuple
    return typed(hint, st.one_of([member.values for member in members]), "object")


LEAVES = st.one_of(texts(), whole_numbers(), fractions(), PLAIN, literals(), enums())
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.flatmap(lists_of),
        inner.flatmap(maps_of),
        unions_of(inner),
        records_of(inner),
        trees_of(inner),
        tagged_of(inner),
    ),
    max_leaves=8,
)
DATACLASSES = st.one_of(records_of(TYPES), trees_of(TYPES))

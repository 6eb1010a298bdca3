"""Read what follows the type in `Annotated`: constraints and a description.

    sku: Annotated[str, Pattern("[A-Z]{3}-[0-9]+"), "as printed on the label"]
    quantity: Annotated[int, Range(ge=1, le=99)]
    tags: Annotated[list[str], Length(max=5)]

The objects of the package annotated_types (Ge, Gt, Le, Lt, Interval, MinLen, MaxLen, Len) and
`typing_extensions.Doc` mean the same. Anything else raises SchemaError, so that no constraint is
silently ignored.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, TypeAlias

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.automata import Automaton, TooLargeError
from conduit_nb.schemas.formats import decimals_of
from conduit_nb.schemas.patterns import common_regex
from conduit_nb.schemas.problems import describe_value, size_text
from conduit_nb.schemas.shapes import (
    Float,
    Int,
    Length,
    List,
    Map,
    Pattern,
    Range,
    Shape,
    Str,
    Union,
    without_null,
)

Constraint: TypeAlias = Length | Range | Pattern

MAX_EXACT = 2**53
MAX_FLOAT_BOUND = 10**15
MAX_DECIMALS = 15
MAX_MIN_LENGTH = 100_000
"""The largest `Length.min`: records that need more cannot be completed (closing.MAX_MIN_COUNT)."""
MAX_MAX_LENGTH = 2**31 - 1
"""The largest `Length.max`, as in the grammar engine."""
MAX_CHECKED_LENGTH = 2_000
"""The largest `Length.min` that is checked against a pattern: the check takes time."""


def to_constraint(extra: Any, path: str) -> Constraint | str:
    """Return one object in `Annotated` as a constraint or a description. Raises SchemaError."""
    match extra:
        case str():
            return " ".join(extra.split())
        case Length() | Range() | Pattern():
            return extra
        case _:
            pass
    if type(extra).__name__ == "Doc" and isinstance(getattr(extra, "documentation", None), str):
        return " ".join(extra.documentation.split())
    if type(extra).__module__ == "annotated_types":
        bounds = {name: getattr(extra, name) for name in _BOUNDS if hasattr(extra, name)}
        if bounds:
            return Range(**bounds)
        if hasattr(extra, "min_length") or hasattr(extra, "max_length"):
            return Length(getattr(extra, "min_length", 0), getattr(extra, "max_length", None))
    is_class = isinstance(extra, type)
    raise SchemaError(
        f"{extra.__name__ if is_class else type(extra).__name__} in Annotated is not known"
        f"{', being a class' if is_class else ''}",
        path=path,
        hint="Use Length(min, max), Range(ge=, gt=, le=, lt=), Pattern(regex), or a plain string "
        "that describes the field.",
    )


def constrain(shape: Shape, constraint: Constraint, path: str) -> Shape:
    """Return `shape` narrowed by `constraint`; in `X | None` X is narrowed. Raises SchemaError."""
    if isinstance(shape, Union):
        return _constrain_optional(shape, constraint, path)
    match constraint, shape:
        case Length(), Str() | List() | Map():
            return replace(shape, length=_narrowed_length(shape.length, constraint, path))
        case Range(), Int() | Float():
            return replace(shape, range=_narrowed_range(shape, constraint, path))
        case Pattern(), Str(pattern=None):
            regex = common_regex(_text_of(constraint, path), path=path)
            return replace(shape, pattern=regex)
        case Pattern(), Str():
            raise SchemaError(
                f"there are two patterns, {shape.pattern!r} and {constraint.regex!r}",
                path=path,
                hint="Join them into one regular expression.",
            )
        case _:
            raise SchemaError(
                f"{type(constraint).__name__} says nothing about {_NOUNS.get(type(shape), 'this')}",
                path=path,
                hint=f"{type(constraint).__name__} goes with {_GOES_WITH[type(constraint)]}.",
            )


_BOUNDS = tuple(one.name for one in fields(Range))
_GOES_WITH: dict[type[Any], str] = {
    Length: "str, list and dict",
    Range: "int and float",
    Pattern: "str",
}
_NOUNS: dict[type[Any], str] = {Str: "str", Int: "int", Float: "float", List: "list", Map: "dict"}


def _text_of(pattern: Pattern, path: str) -> str:
    """Return the regular expression. Raises SchemaError where it is not a str."""
    regex: Any = pattern.regex
    if isinstance(regex, str):
        return regex
    compiled = getattr(regex, "pattern", None)  # of re.compile
    given = compiled if isinstance(compiled, str) else "..."
    raise SchemaError(
        f"Pattern has a {type(regex).__name__}, not a str",
        path=path,
        hint=f"Write the regular expression itself: Pattern({given!r}).",
    )


def refuse_impossible(shape: Shape, path: str) -> None:
    """Raise SchemaError where no text satisfies both the length and the pattern of a `str`."""
    if not isinstance(shape, Str) or shape.pattern is None or shape.length == Length():
        return
    min_length, max_length = shape.length.min, shape.length.max
    if min_length > MAX_CHECKED_LENGTH:
        return
    try:
        automaton = Automaton(shape.pattern)
    except TooLargeError:
        return
    if automaton.completion(automaton.start, min_length, max_length) is None:
        raise SchemaError(
            f"no text of {size_text(shape.length)} characters matches /{shape.pattern}/",
            path=path,
            hint="Change the pattern or the Length, or leave one of them out.",
        )


def _constrain_optional(union: Union, constraint: Constraint, path: str) -> Shape:
    inner, has_null = without_null(union)
    if not has_null or isinstance(inner, Union):
        raise SchemaError(
            f"{type(constraint).__name__} stands beside a union",
            path=path,
            hint="Put it on the member that it is about: Annotated[int, Range(ge=1)] | str.",
        )
    return Union(
        tuple(
            constrain(member, constraint, path) if member == inner else member
            for member in union.members
        )
    )


def _narrowed_length(old: Length, new: Length, path: str) -> Length:
    for name, bound in (("min", new.min), ("max", new.max)):
        if bound is None and name == "max":
            continue
        if isinstance(bound, bool) or not isinstance(bound, int) or bound < 0:
            raise SchemaError(
                f"Length has {name}={bound!r}",
                path=path,
                hint="Use a whole number of at least 0, or leave it out.",
            )
        largest = MAX_MIN_LENGTH if name == "min" else MAX_MAX_LENGTH
        if bound > largest:
            shown = describe_value(bound).removeprefix("int ")
            raise SchemaError(
                f"Length has {name}={shown}, beyond {largest:,}",
                path=path,
                hint="No model writes so much: give a smaller number, or leave it out.",
            )
    highs = [bound for bound in (old.max, new.max) if bound is not None]
    joined = Length(max(old.min, new.min), min(highs) if highs else None)
    if joined.max is not None and joined.max < joined.min:
        raise SchemaError(
            f"no length is at least {joined.min} and at most {joined.max}",
            path=path,
            hint="Swap the bounds of Length.",
        )
    return joined


def _narrowed_range(shape: Int | Float, new: Range, path: str) -> Range:
    for name in _BOUNDS:
        bound: Any = getattr(new, name)
        if bound is None:
            continue
        kinds = (int,) if isinstance(shape, Int) else (int, float)
        if isinstance(bound, bool) or not isinstance(bound, kinds) or not math.isfinite(bound):
            raise SchemaError(
                f"Range has {name}={bound!r} on {_NOUNS[type(shape)]}",
                path=path,
                hint=f"Use a finite {' or '.join(kind.__name__ for kind in kinds)}.",
            )
        largest = MAX_EXACT if isinstance(shape, Int) else MAX_FLOAT_BOUND
        if abs(bound) > largest:
            raise SchemaError(
                f"Range has {name}={bound!r}, beyond {largest:,}",
                path=path,
                hint="JSON readers and grammars disagree on such numbers: leave the bound out.",
            )
        is_coarse = isinstance(bound, int) or float(f"{bound:.15g}") == bound
        if not is_coarse or decimals_of(bound) > MAX_DECIMALS:
            raise SchemaError(
                f"Range has {name}={bound!r}, which is too fine",
                path=path,
                hint=f"Use at most 15 digits, and at most {MAX_DECIMALS} after the point.",
            )
    joined = _joined_range(shape.range, new)
    if _is_empty(joined, whole=isinstance(shape, Int)):
        raise SchemaError(
            f"no number fits {joined}", path=path, hint="Check which bound is the lower one."
        )
    return joined


def _joined_range(old: Range, new: Range) -> Range:
    def both(name: str) -> list[int | float]:
        return [bound for bound in (getattr(old, name), getattr(new, name)) if bound is not None]

    return Range(
        ge=max(both("ge"), default=None),
        gt=max(both("gt"), default=None),
        le=min(both("le"), default=None),
        lt=min(both("lt"), default=None),
    )


def _is_empty(range_: Range, *, whole: bool) -> bool:
    if whole:
        lows = [
            b for b in (range_.ge, None if range_.gt is None else range_.gt + 1) if b is not None
        ]
        highs = [
            b for b in (range_.le, None if range_.lt is None else range_.lt - 1) if b is not None
        ]
        return bool(lows and highs and max(lows) > min(highs))
    low, high = (
        max((b for b in (range_.ge, range_.gt) if b is not None), default=-math.inf),
        min((b for b in (range_.le, range_.lt) if b is not None), default=math.inf),
    )
    is_open = low == range_.gt or high == range_.lt
    return low > high or (low == high and is_open)

"""Turn errors of the validator into problems: path, what was expected, what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, cast

from pydantic_core import ErrorDetails

from conduit_nb.errors import Problem, ProblemKind
from conduit_nb.plain_text import plain
from conduit_nb.schemas.formats import write_float
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
    Range,
    Record,
    Shape,
    Str,
    Union,
    without_null,
)
from conduit_nb.schemas.unions import tag_of

MAX_SHOWN = 40

CUSTOM_ERROR = "conduit"  # the type of errors that carry their own message


def to_problems(
    errors: Iterable[ErrorDetails], root: Record, *, in_python: bool = False
) -> tuple[Problem, ...]:
    """Return the validator's errors as problems, in order, without duplicates.

    `in_python`: a record was validated, not a JSON text.
    """
    return tuple(dict.fromkeys(_to_problem(error, root, in_python) for error in errors))


def to_path(keys: Iterable[str | int]) -> str:
    """Return the path of a value, e.g. `$.files[1].bytes`; the middle of a long one is left out."""
    path = "$"
    keys = list(keys)
    if len(keys) > 24:
        return f"{to_path(keys[:8])}…{to_path(keys[-8:]).removeprefix('$')}"
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key.isidentifier():
            path += f".{key}"
        else:
            path += f"[{shorten(plain(json.dumps(key, ensure_ascii=False)))}]"
    return path


def describe_shape(shape: Shape, *, in_python: bool = False) -> str:
    """Describe the values of a shape for an error message, in JSON terms or in Python terms."""
    if in_python:
        match shape:
            case Bytes() | Date():
                return type(shape).__name__.lower()
            case DateTime():
                return "aware datetime"
            case EnumChoice(cls=cls):
                return f"a member of {cls.__name__}"
            case Map(length=length):
                return f"dict{_sized(length, 'keys')}"
            case _:
                pass
    match shape:
        case Str(length=length, pattern=pattern):
            suffix = "" if pattern is None else f" matching /{shorten(pattern)}/"
            return f"str{_sized(length, 'characters')}{suffix}"
        case Int(range=range_):
            return f"int{_bounded(range_)}"
        case Float(range=range_):
            return f"float{_bounded(range_)}"
        case Bool():
            return "bool"
        case Null():
            return "null"
        case Bytes(is_object=is_object):
            return '{"base64": text}' if is_object else "base64 text"
        case Date():
            return "date like 2024-12-31"
        case DateTime():
            return "datetime with offset, like 2024-12-31T23:59:00Z"
        case Choice() | EnumChoice():
            return _listed([json.dumps(value, ensure_ascii=False) for value in shape.values])
        case List(length=length):
            return f"list{_sized(length, 'items')}"
        case Map(length=length):
            return f"object{_sized(length, 'keys')}"
        case Record(name=name):
            return name
        case Union(members=members):
            return " or ".join(describe_shape(member, in_python=in_python) for member in members)


def describe_value(value: Any) -> str:
    """Describe a value for an error message, on one line; other objects by their class."""
    match value:
        case None:
            return "null"
        case bool():
            return f"bool {'true' if value else 'false'}"
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case str():
            shown = shorten(plain(json.dumps(value[: MAX_SHOWN * 2], ensure_ascii=False)))
            return f"str {shown}" if len(value) <= MAX_SHOWN else f"str of {len(value)}: {shown}"
        case int():
            return f"int {_whole(value)}"
        case float():
            return f"float {float(value)!r}"
        case list():
            return f"list of {len(cast('list[Any]', value))}"
        case dict():
            keys = [_shown_key(key) for key in cast("dict[Any, Any]", value)]
            return f"object with {_listed(keys, joint=', ')}" if keys else "empty object"
        case _:
            return type(value).__name__


def shorten(text: str) -> str:
    """Return `text` cut to MAX_SHOWN characters."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def long_numbers(value: Any) -> tuple[Problem, ...]:
    """Return a problem for each integer with more digits than Python converts to text."""
    return tuple(_long_numbers(value, []))


def _long_numbers(value: Any, keys: list[str | int]) -> Iterator[Problem]:
    match value:
        case int():
            try:
                int.__repr__(value)
            except ValueError:
                limit = sys.get_int_max_str_digits()
                message = f"{describe_value(value)}, and no more than {limit:,} are written"
                yield Problem(path=to_path(keys), message=message, kind="not_json")
        case list():
            for index, item in enumerate(cast("list[Any]", value)):
                yield from _long_numbers(item, [*keys, index])
        case dict():
            for key, item in cast("dict[str, Any]", value).items():
                yield from _long_numbers(item, [*keys, key])
        case _:
            pass


def lone_surrogates(value: Any) -> tuple[Problem, ...]:
    """Return a problem for each text or key that contains a lone surrogate."""
    return tuple(_lone_surrogates(value, []))


def _lone_surrogates(value: Any, keys: list[str | int]) -> list[Problem]:
    match value:
        case str():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                message = "holds a lone surrogate, which JSON text cannot carry"
                return [Problem(path=to_path(keys), message=message, kind="not_json")]
            return []
        case list():
            items = enumerate(cast("list[Any]", value))
            return [one for index, item in items for one in _lone_surrogates(item, [*keys, index])]
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            places = [(one, [*keys, key]) for key, item in pairs for one in (key, item)]
            return [problem for one, at in places for problem in _lone_surrogates(one, at)]
        case _:
            return []


def _to_problem(error: ErrorDetails, root: Record, in_python: bool) -> Problem:
    keys: list[str | int] = []
    shape: Shape | None = root
    owner: Record | None = None
    owner_map: Shape | None = None
    is_key = False
    for item in error["loc"]:
        if isinstance(item, int) and item < 0:  # which member of a union was tried
            assert isinstance(shape, Union)
            shape = shape.members[-item - 1]
            continue
        if item == "[key]" and item is error["loc"][-1] and isinstance(owner_map, Map):
            is_key = True
            continue
        inner = None if shape is None else without_null(shape)[0]
        owner = inner if isinstance(inner, Record) else None
        owner_map = inner
        shape = _below(inner, item)
        keys.append(item)
    tag = _wrong_tag(error, shape)
    if tag is not None:
        keys.append(tag[0])
        return Problem(path=to_path(keys), message=tag[1], kind=tag[2])
    if is_key:
        message = f"expected str as key, got {describe_value(error['input'])}"
    else:
        expected = None if shape is None else describe_shape(shape, in_python=in_python)
        message = _message(error, expected, owner)
    return Problem(path=to_path(keys), message=message, kind=_kind(error))


def _kind(error: ErrorDetails) -> ProblemKind:
    if error["type"] == CUSTOM_ERROR:
        return error.get("ctx", {})["kind"]
    return _KINDS.get(error["type"], "mismatch")


_KINDS: dict[str, ProblemKind] = {
    "missing": "missing",
    "extra_forbidden": "unexpected",
    "json_invalid": "not_json",
    "string_unicode": "not_json",
    "recursion_loop": "circular",
    "recursion_depth_exceeded": "too_deep",
}


def _wrong_tag(error: ErrorDetails, shape: Shape | None) -> tuple[str, str, ProblemKind] | None:
    """Return the name of a union's tag field, the message and the kind; None for other errors."""
    value = error["input"]
    if not error["type"].startswith("union_tag") or not isinstance(value, dict):
        return None
    members = shape.members if isinstance(shape, Union) else ()
    tag = None if any(isinstance(one, Map) for one in members) else tag_of(members)
    if tag is None:
        return None
    name, values = tag
    expected = _listed([json.dumps(one, ensure_ascii=False) for one in values])
    if name not in value:
        return name, f"missing, expected {expected}", "missing"
    return name, f"expected {expected}, got {describe_value(value[name])}", "mismatch"


def _below(shape: Shape | None, key: str | int) -> Shape | None:
    match shape:
        case Record(fields=fields):
            return next((field.shape for field in fields if field.name == key), None)
        case List(item=item):
            return item
        case Map(value=value):
            return value
        case Bytes():
            return Bytes()
        case _:
            return None


def _message(error: ErrorDetails, expected: str | None, owner: Record | None) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "missing" if expected is None else f"missing, expected {expected}"
        case "extra_forbidden":
            names = _listed([field.name for field in owner.fields], joint=", ") if owner else ""
            return f"unexpected; {owner.name} has {names or 'no fields'}" if owner else "unexpected"
        case "json_invalid":
            return f"not JSON: {context['error']}"
        case "recursion_loop":
            return "contains itself"
        case "recursion_depth_exceeded":
            return "nests too deep for JSON readers"
        case "string_unicode":
            return "not JSON: a lone surrogate, which UTF-8 cannot carry"
        case own if own == CUSTOM_ERROR:
            return error["msg"]
        case _:
            return f"expected {expected or 'another value'}, got {describe_value(error['input'])}"


def _sized(length: Length, noun: str) -> str:
    return "" if length == Length() else f" of {size_text(length)} {noun}"


def _bounded(range_: Range) -> str:
    text = range_text(range_)
    return f" {text}" if text else ""


def size_text(length: Length) -> str:
    """Return `1..80`, `1..`, `..80`, or `3` where both are the same."""
    if length.min == length.max:
        return str(length.min)
    return f"{length.min or ''}..{'' if length.max is None else length.max}"


def range_text(range_: Range) -> str:
    """Return `1..5`, `>=1`, `>0 <1`, or nothing."""
    if range_.ge is not None and range_.le is not None and range_.gt is range_.lt is None:
        return f"{_number(range_.ge)}..{_number(range_.le)}"
    bounds = ((">=", range_.ge), (">", range_.gt), ("<=", range_.le), ("<", range_.lt))
    return " ".join(f"{sign}{_number(bound)}" for sign, bound in bounds if bound is not None)


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else write_float(bound).removesuffix(".0")


def _shown_key(key: Any) -> str:
    if not isinstance(key, str):
        return type(key).__name__
    shown = key[: MAX_SHOWN * 2]
    return key if key.isidentifier() else plain(json.dumps(shown, ensure_ascii=False))


def _whole(value: int) -> str:
    digits = int(value.bit_length() * 0.30103)
    return str(int(value)) if digits < MAX_SHOWN else f"of about {digits} digits"


def _listed(items: Sequence[str], joint: str = " or ") -> str:
    shown = [shorten(item) for item in items[:8]]
    return joint.join([*shown, f"{len(items) - 8} more"] if len(items) > 8 else shown)

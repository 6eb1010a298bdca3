"""Errors of the validator in our words: where (`$.files[1].bytes`) and what was expected."""

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

OWN = "conduit"  # the type of the errors that our own validating functions raise


def to_problems(
    errors: Iterable[ErrorDetails], root: Record, *, in_python: bool = False
) -> tuple[Problem, ...]:
    """Return the validator's errors as problems, in its order, each once.

    `in_python` says that a record was looked at, not a text.
    """
    return tuple(dict.fromkeys(_to_problem(error, root, in_python) for error in errors))


def to_path(keys: Iterable[str | int]) -> str:
    """Return the way to a place in a record, e.g. `$.files[1].bytes`."""
    path = "$"
    keys = list(keys)
    if len(keys) > 24:  # a deep recursion: its beginning and its end say enough
        return f"{to_path(keys[:8])}…{to_path(keys[-8:]).removeprefix('$')}"
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key.isidentifier():
            path += f".{key}"
        else:
            path += f"[{shortened(plain(json.dumps(key, ensure_ascii=False)))}]"
    return path


def described(shape: Shape, *, in_python: bool = False) -> str:
    """Return what a value of `shape` is, as an error says it: in JSON, or in Python."""
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
            suffix = "" if pattern is None else f" matching /{shortened(pattern)}/"
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
            return " or ".join(described(member, in_python=in_python) for member in members)


def found(value: Any) -> str:
    """Return what a value is, short enough for one line; foreign objects only by their class."""
    match value:
        case None:
            return "null"
        case bool():
            return f"bool {'true' if value else 'false'}"
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case str():
            shown = shortened(plain(json.dumps(value[: MAX_SHOWN * 2], ensure_ascii=False)))
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


def shortened(text: str) -> str:
    """Return `text` cut to what a line of an error can hold."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def long_numbers(value: Any) -> tuple[Problem, ...]:
    """Return a problem for each whole number that has more digits than Python writes."""
    return tuple(_long_numbers(value, []))


def _long_numbers(value: Any, keys: list[str | int]) -> Iterator[Problem]:
    match value:
        case int():
            try:
                int.__repr__(value)
            except ValueError:
                most = sys.get_int_max_str_digits()
                message = f"{found(value)}, and no more than {most:,} are written"
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
    """Return a problem for each text, keys included, that holds half of a surrogate pair."""
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
        message = f"expected str as key, got {found(error['input'])}"
    else:
        expected = None if shape is None else described(shape, in_python=in_python)
        message = _message(error, expected, owner)
    return Problem(path=to_path(keys), message=message, kind=_kind(error))


def _kind(error: ErrorDetails) -> ProblemKind:
    if error["type"] == OWN:
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
    """Return the field that is to tell the members of a union apart, and what is wrong with it."""
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
    return name, f"expected {expected}, got {found(value[name])}", "mismatch"


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
        case own if own == OWN:
            return error["msg"]
        case _:
            return f"expected {expected or 'another value'}, got {found(error['input'])}"


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
    shown = [shortened(item) for item in items[:8]]
    return joint.join([*shown, f"{len(items) - 8} more"] if len(items) > 8 else shown)

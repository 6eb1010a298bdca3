"""Why a type hint is refused, and the cure. Knows names of types, not their structure.

Layer 1.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
from collections.abc import Callable, Mapping, Set
from enum import Flag
from typing import Any, ClassVar, Final, get_args, get_origin

from conduit_nb.errors import SchemaError

SUPPORTED = (
    "str, int, float, bool, bytes, date, datetime, list[...], dict[str, ...], Literal, Enum, "
    "X | Y, X | None and dataclasses"
)


def refusal(hint: Any, path: str) -> SchemaError:
    """Return the error for a hint that has no one meaning in JSON."""
    origin = get_origin(hint) or hint
    name = type_name(hint)
    for match, message, cure in _RULES:
        if match(hint, origin):
            return SchemaError(message.format(name=name), path=path, hint=cure.format(name=name))
    return SchemaError(f"{name} is not supported", path=path, hint=f"Use {SUPPORTED}.")


def not_a_dataclass(cls: Any) -> SchemaError:
    """Return the error for what is to be a schema and is no dataclass."""
    is_own = isinstance(cls, type) and cls.__module__ not in ("builtins", "typing")
    return SchemaError(
        f"{type_name(cls)} is not a dataclass",
        hint="Put @dataclass above the class."
        if is_own
        else "Make a dataclass that has it as a field.",
    )


def type_name(hint: Any) -> str:
    """Return how a hint is spelt."""
    if isinstance(hint, type) and not get_args(hint):
        return hint.__qualname__.rpartition(".<locals>.")[2] or hint.__name__
    return str(hint).replace("typing.", "")


def _is_subclass(origin: Any, *bases: type[Any]) -> bool:
    return isinstance(origin, type) and issubclass(origin, bases)


def _is_bare(kind: type[Any]) -> Callable[[Any, Any], bool]:
    return lambda hint, origin: origin is kind and not get_args(hint)


_RULES: tuple[tuple[Callable[[Any, Any], bool], str, str], ...] = (
    (
        lambda hint, _: hint is Any or hint is object,
        "{name} says nothing",
        "Name the type: str, a dataclass, dict[str, str], ...",
    ),
    (
        lambda hint, _: hint is None or hint is types.NoneType,
        "None alone carries nothing",
        "Leave the field out, or say what else it may be: str | None.",
    ),
    (_is_bare(list), "list does not say of what", "Write list[str], for example."),
    (_is_bare(dict), "dict does not say of what", "Write dict[str, int], or make it a dataclass."),
    (
        lambda _, origin: origin is dict,
        "{name}: in JSON a key is text",
        "Write dict[str, ...]; where the keys are known, make it a dataclass.",
    ),
    (
        lambda _, origin: _is_subclass(origin, tuple) and hasattr(origin, "_fields"),
        "{name} is a NamedTuple, not a dataclass",
        "Make it a dataclass: put @dataclass above the class and leave NamedTuple out.",
    ),
    (
        lambda _, origin: _is_subclass(origin, tuple),
        "{name}: the places of a tuple have no names",
        "Write list[...] for many of one kind, or a dataclass that names each place.",
    ),
    (
        lambda _, origin: _is_subclass(origin, Set),
        "{name}: JSON has no sets",
        "Write list[...].",
    ),
    (
        lambda _, origin: getattr(origin, "__name__", "") in ("Callable", "function"),
        "{name} is code, not data",
        "Leave the field out, or name the function by a str.",
    ),
    (
        lambda _, origin: _is_subclass(origin, Flag),
        "{name} is a Flag, whose members add up",
        "Make it an Enum and the field a list of it.",
    ),
    (
        lambda hint, origin: origin in (ClassVar, Final) or hint in (ClassVar, Final),
        "{name} is about the attribute, not about its type",
        "Write the type alone.",
    ),
    (
        lambda _, origin: _is_subclass(origin, dict) and hasattr(origin, "__total__"),
        "{name} is a TypedDict, not a dataclass",
        "Make it a dataclass: put @dataclass above the class.",
    ),
    (
        lambda _, origin: _is_subclass(origin, Mapping),
        "{name} is not supported",
        "Write dict[str, ...].",
    ),
    (
        lambda _, origin: _is_subclass(origin, bytearray, memoryview),
        "{name} is not supported",
        "Write bytes.",
    ),
    (
        lambda _, origin: (
            getattr(origin, "__module__", "") in ("decimal", "fractions") or origin is complex
        ),
        "{name} is not supported: JSON numbers are int and float",
        "Write float, or str where every digit counts.",
    ),
    (
        lambda _, origin: (
            getattr(origin, "__module__", "").partition(".")[0]
            in ("uuid", "pathlib", "ipaddress", "re", "datetime")
        ),
        "{name} is not supported",
        "Write str (with a Pattern, if you like), or float for a duration in seconds.",
    ),
    (
        lambda _, origin: (
            not dataclasses.is_dataclass(origin)
            and _is_subclass(origin, collections.abc.Iterable)
            and get_args(_) != ()
        ),
        "{name} is not supported",
        "Write list[...].",
    ),
    (
        lambda _, origin: isinstance(origin, type) and hasattr(origin, "model_fields"),
        "{name} is a pydantic model, not a dataclass",
        "Make it a dataclass: put @dataclass above the class and leave BaseModel out.",
    ),
    (
        lambda _, origin: isinstance(origin, type) and origin.__module__ != "builtins",
        "{name} is not a dataclass",
        "Put @dataclass above the class.",
    ),
)

"""The errors for type hints and classes that cannot become a schema, each with a hint.

Some need only the hint (`refusal`, `not_a_dataclass`), others the whole schema: `refuse_deep`,
`refuse_confusions` (members of a union that look alike) and `refuse_endless` (records that always
contain another of their kind).
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import is_dataclass
from datetime import date
from enum import Flag
from typing import Any, ClassVar, Final, cast, get_args, get_origin, is_typeddict

from conduit_nb.errors import SchemaError
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
    Pattern,
    Range,
    Record,
    Shape,
    Str,
    Union,
    walk,
)
from conduit_nb.schemas.unions import confused

SUPPORTED = (
    "str, int, float, bool, bytes, date, datetime, list[...], dict[str, ...], Literal, Enum, "
    "X | Y, X | None and dataclasses"
)
MAX_HINT_CHARACTERS = 300
MAX_NAME_CHARACTERS = 60

PYDANTIC = (
    "{name} is a pydantic model, not a dataclass",
    "Make it a dataclass: put @dataclass above the class and leave BaseModel out.",
)
MAX_DEPTH = 100
"""How deep types may nest, not counting those that are named in the MDL."""


def refusal(hint: Any, path: str) -> SchemaError:
    """Return the error for a hint without a single meaning in JSON."""
    origin = get_origin(hint) or hint
    message, cure = (
        _about_values(hint)
        or _about_nothing(hint, origin)
        or _about_containers(hint, origin)
        or _about_others(origin)
    )
    return SchemaError(message.format(name=type_name(hint)), path=path, hint=cure)


def not_a_dataclass(cls: Any) -> SchemaError:
    """Return the error for a value that was passed as a schema and is not a dataclass."""
    if is_pydantic(cls):
        message, cure = PYDANTIC
        return SchemaError(message.format(name=type_name(cls)), hint=cure)
    if is_dataclass(cls) and not isinstance(cls, type):
        name = type(cls).__name__
        return SchemaError(
            f"{name}(...) is a record: pass the class, not a record",
            hint=f"Write {name}, without parentheses.",
        )
    noun, cure = _about_non_classes(cls) or ("", "")
    if noun:
        return SchemaError(f"{noun} is not a dataclass", hint=cure)
    is_own = isinstance(cls, type) and cls.__module__ not in ("builtins", "typing")
    return SchemaError(
        f"{type_name(cls)} is not a dataclass",
        hint="Put @dataclass above the class."
        if is_own
        else "Make a dataclass that has it as a field.",
    )


def _about_non_classes(given: Any) -> tuple[str, str] | None:
    """Return what was passed instead of a class, and the hint; None where it is a class."""
    if isinstance(given, type) or get_origin(given) is not None:
        return None
    kind = cast("type[Any]", type(given))
    if is_pydantic(kind):
        return f"a record of {kind.__name__}", PYDANTIC[1]
    if isinstance(given, list | tuple | set | frozenset):
        items = list(cast("Iterable[Any]", given))
        names = [one.__name__ for one in items if isinstance(one, type)]
        if names and len(names) == len(items) == 1:
            return (
                f"a {kind.__name__} with {names[0]} in it",
                f"Pass the class itself, {names[0]}; for many in one record make a dataclass with "
                f"a field of list[{names[0]}].",
            )
        if names and len(names) == len(items):
            either = " | ".join(names)
            return f"a {kind.__name__} of classes", f"Pass one class, or for a block {either}."
        return f"a {kind.__name__}", "Pass the class of one record; .batch takes many records."
    if isinstance(given, str):
        shown = given if len(given) <= MAX_NAME_CHARACTERS else "a str"
        return shown, "Pass the class itself, not its name: without quotes."
    if given is None:
        return "None", "Pass the class of the records."
    if isinstance(given, Mapping):
        return f"a {kind.__name__}", "Write the keys as fields of a dataclass, and pass its class."
    return None


def not_a_record(value: Any) -> SchemaError:
    """Return the error for a value that was passed as a record and is not one."""
    if isinstance(value, type) and is_dataclass(cast("type[Any]", value)):
        return SchemaError(
            f"{value.__name__} is a class: pass a record, not the class",
            hint=f"Make a record: {value.__name__}(...).",
        )
    kind = cast("type[Any]", type(value))
    if isinstance(value, list | tuple) or hasattr(kind, "iloc"):
        cure = "Pass one record; .batch takes many."
    elif isinstance(value, str | Mapping):
        cure = "Make a record, a dataclass with it in a field."
    elif is_pydantic(kind):
        cure = PYDANTIC[1]
    else:
        cure = "Pass a record, an instance of a dataclass."
    return SchemaError(f"{kind.__name__} is not a dataclass", hint=cure)


def is_pydantic(cls: Any) -> bool:
    """Return whether it is a pydantic model, which looks like a dataclass."""
    return isinstance(cls, type) and hasattr(cls, "model_fields") and hasattr(cls, "model_validate")


def type_name(hint: Any) -> str:
    """Return a hint as its user writes it."""
    if isinstance(hint, type) and not get_args(hint):
        return hint.__qualname__.rpartition(".<locals>.")[2] or hint.__name__
    text = str(hint).replace("typing.", "")
    # Another value than a type, such as a table, is described by its class.
    return (
        text
        if len(text) <= MAX_HINT_CHARACTERS and "\n" not in text
        else f"a {type(hint).__name__}"
    )


def _about_values(hint: Any) -> tuple[str, str] | None:
    """Return the message and the hint for a value in the place of a type."""
    if isinstance(hint, list | tuple | set) and hint:
        values = ", ".join(repr(value) for value in cast("Iterable[object]", hint))
        return "{name} is a value, not a type", f"For one of these values, write Literal[{values}]."
    if isinstance(hint, Length | Pattern | Range):
        kind = {Length: "str", Pattern: "str", Range: "int"}[type(hint)]
        return "{name} bounds a type, but is none", f"Write Annotated[{kind}, {hint!r}]."
    return None


def forgotten_colon(name: str, value: Any, path: str) -> SchemaError:
    """Return the error for `kind = Literal[...]`: an assignment where a colon was meant."""
    shown = type_name(value)
    return SchemaError(
        f"{name} = {shown} is a constant of the class, not a field",
        path=path,
        hint=f"Write {name}: {shown}",
    )


def _about_nothing(hint: Any, origin: Any) -> tuple[str, str] | None:
    if hint is Any or hint is object:
        return "{name} says nothing", "Name the type: str, a dataclass, dict[str, str], ..."
    if hint is None or hint is types.NoneType:
        return (
            "None alone carries nothing",
            "Leave the field out, or say what else it may be: str | None.",
        )
    if origin is list and not get_args(hint):
        return "list does not say of what", "Write list[str], for example."
    if origin is dict and not get_args(hint):
        return "dict does not say of what", "Write dict[str, int], or make it a dataclass."
    if origin in (ClassVar, Final):
        return "{name} is about the attribute, not about its type", "Write the type alone."
    return None


def _about_containers(hint: Any, origin: Any) -> tuple[str, str] | None:
    if origin is dict:
        return (
            "{name}: in JSON a key is text",
            "Write dict[str, ...]; where the keys are known, make it a dataclass.",
        )
    for is_one, noun in (
        (_is_named_tuple(origin), "NamedTuple"),
        (is_typeddict(origin), "TypedDict"),
    ):
        if is_one:
            return (
                f"{{name}} is a {noun}, not a dataclass",
                f"Make it a dataclass: put @dataclass above the class and leave {noun} out.",
            )
    if _is_subclass(origin, tuple):
        return (
            "{name}: the places of a tuple have no names",
            "Write list[...] for many of one kind, or a dataclass that names each place.",
        )
    if _is_subclass(origin, Set):
        return "{name}: JSON has no sets", "Write list[...]."
    if origin is Counter:
        return "{name} is not supported", "Write dict[str, int], and count into it."
    if _is_subclass(origin, Mapping):
        return "{name} is not supported", "Write dict[str, ...]."
    if _is_subclass(origin, bytearray, memoryview):
        return "{name} is not supported", "Write bytes."
    if _is_subclass(origin, Iterable) and get_args(hint):
        return "{name} is not supported", "Write list[...]."
    return None


def _about_others(origin: Any) -> tuple[str, str]:
    module = getattr(origin, "__module__", "").partition(".")[0]
    if getattr(origin, "__name__", "") in ("Callable", "function"):
        return "{name} is code, not data", "Leave the field out, or name the function by a str."
    if _is_subclass(origin, Flag):
        return (
            "{name} is a Flag, whose members add up",
            "Make it an Enum and the field a list of it.",
        )
    if module in ("decimal", "fractions") or origin is complex:
        return (
            "{name} is not supported: JSON numbers are int and float",
            "Write float, or str where every digit counts.",
        )
    if module in ("uuid", "pathlib", "ipaddress", "re", "datetime"):
        return (
            "{name} is not supported",
            "Write str (with a Pattern, if you like), or float for a duration in seconds.",
        )
    if is_pydantic(origin):
        return PYDANTIC
    if _is_subclass(origin, date):  # pandas' Timestamp
        return "{name} is not supported", "Write datetime, or date for a day."
    if module == "numpy":
        return "{name} is not supported", "Write Python's own type: int, float, bool or str."
    if module == "pandas":
        return "{name} is not supported", f"Use {SUPPORTED}."
    if isinstance(origin, type) and module != "builtins":
        return "{name} is not a dataclass", "Put @dataclass above the class."
    return "{name} is not supported", f"Use {SUPPORTED}."


def _is_named_tuple(origin: Any) -> bool:
    return _is_subclass(origin, tuple) and hasattr(origin, "_fields")


def _is_subclass(origin: Any, *bases: type[Any]) -> bool:
    return isinstance(origin, type) and issubclass(origin, bases)


def refuse_deep(root: Record) -> None:
    """Raise SchemaError where types nest deeper than MAX_DEPTH levels, named ones not counted."""
    counts = Counter(id(shape) for _, shape, _ in walk(root) if isinstance(shape, Record))
    pieces = {id(shape): shape for _, shape, _ in walk(root) if counts[id(shape)] > 1}
    for piece in (root, *pieces.values()):
        waiting: list[tuple[str, Shape, int]] = [("$", piece, 0)]
        while waiting:
            path, shape, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise too_deep(path)
            if depth == 0 or id(shape) not in pieces:
                waiting += [(f"{path}{step}", one, depth + 1) for step, one in _below(shape)]


def _below(shape: Shape) -> list[tuple[str, Shape]]:
    match shape:
        case Record(fields=fields):
            return [(f".{field.name}", field.shape) for field in fields]
        case List(item=item):
            return [("[]", item)]
        case Map(value=value):
            return [("{}", value)]
        case Union(members=members):
            return [("", member) for member in members]
        case _:
            return []


def too_deep(path: str) -> SchemaError:
    """Return the error for types that nest deeper than MAX_DEPTH levels."""
    return SchemaError(
        f"nests deeper than {MAX_DEPTH} levels",
        path=f"{path[:60]}…",
        hint="Keep parts in lists, or by a key, instead of in each other.",
    )


def refuse_confusions(root: Record) -> None:
    """Raise SchemaError where a JSON value could fit two members of a union; it names both."""
    for path, shape, _ in walk(root):
        if isinstance(shape, Union):
            _refuse_confusion(shape, path)


def refuse_endless(root: Record) -> None:
    """Raise SchemaError for a dataclass that always contains another of its kind."""
    records = [shape for _, shape, is_new in walk(root) if isinstance(shape, Record) and is_new]
    ending: set[int] = set()

    def ends(shape: Shape) -> bool:
        match shape:
            case Record():
                return id(shape) in ending
            case Union(members=members):
                return any(ends(member) for member in members)
            case List(item=item, length=length):
                return length.min == 0 or ends(item)
            case Map(value=value, length=length):
                return length.min == 0 or ends(value)
            case _:
                return True

    while True:
        fresh = [
            record
            for record in records
            if id(record) not in ending and all(ends(child) for child in _needed(record))
        ]
        if not fresh:
            break
        ending.update(id(record) for record in fresh)
    for path, shape, _ in walk(root):
        if isinstance(shape, Record) and id(shape) not in ending:
            raise SchemaError(
                f"{shape.name} always contains another {shape.name}: no record of it is finite",
                path=path,
                hint="Let the recursive field be X | None or list[X].",
            )


def _refuse_confusion(union: Union, path: str) -> None:
    pair = confused(union)
    if pair is None:
        return
    one, other = (_member_name(member) for member in pair)
    if isinstance(pair[0], Record) and isinstance(pair[1], Record):
        cure = 'Give each a field of its own value, e.g. kind: Literal["a"] and Literal["b"].'
    elif isinstance(pair[0], Record) or isinstance(pair[1], Record):
        cure = "Make the other one a dataclass too, with a key of its own."
    else:
        cure = "Keep one of them, or wrap each in a dataclass with a field of its own."
    raise SchemaError(f"a JSON value cannot tell {one} from {other}", path=path, hint=cure)


def _member_name(shape: Shape) -> str:
    match shape:
        case Record(name=name, cls=cls):
            return f"{cls.__qualname__.rpartition('.<locals>.')[2]}{name[len(cls.__name__) :]}"
        case EnumChoice(cls=cls):
            return cls.__name__
        case Choice(values=values):
            return f"Literal[{', '.join(repr(value) for value in values)}]"
        case List(item=item):
            return f"list[{_member_name(item)}]"
        case Map(value=value):
            return f"dict[str, {_member_name(value)}]"
        case Union(members=members):
            return " | ".join(_member_name(member) for member in members)
        case _:
            return _HINT_NAMES[type(shape)]


_HINT_NAMES: dict[type[Any], str] = {
    Str: "str",
    Int: "int",
    Float: "float",
    Bool: "bool",
    Bytes: "bytes",
    Date: "date",
    DateTime: "datetime",
    Null: "None",
}


def _needed(record: Record) -> list[Shape]:
    return [field.shape for field in record.fields if field.is_required]

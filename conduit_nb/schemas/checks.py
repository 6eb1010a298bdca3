"""What only a whole schema shows: members of a union that look alike, records without an end.

Layer 1.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

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
    List,
    Map,
    Null,
    Record,
    Shape,
    Str,
    Union,
    walk,
)
from conduit_nb.schemas.unions import confused

MAX_DEPTH = 100
"""How deep types nest, without those that have a name of their own in the MDL."""


def refuse_deep(root: Record) -> None:
    """Raise SchemaError where what is written in one piece nests deeper than MAX_DEPTH levels."""
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
    """Raise SchemaError, naming both, where two members of a union cannot be told apart."""
    for path, shape, _ in walk(root):
        if isinstance(shape, Union):
            _refuse_confusion(shape, path)


def refuse_endless(root: Record) -> None:
    """Refuse a dataclass that no finite text can fill: it always contains another of its kind."""
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

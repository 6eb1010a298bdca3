"""MDL, the Model Data Language: a schema as compact, typed text for prompts and for people.

    {
      sku: string(/[A-Z]{3}/) // as printed on the label
      quantity: int(1..99)
      price?: float(>0) = 9.5
      status: "new" | "paid"
      tags: string[..5]
      previous: Order | null
    }

One field per line. `?` marks a key that may be left out, `= value` its default. After `//` comes
the description of the field, or the first line of the docstring of the dataclass in it. Nested
dataclasses are written inline; one that is used twice or contains itself is named and follows the
main one, as is an Enum that is used twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from conduit_nb.schemas.problems import range_text, size_text
from conduit_nb.schemas.shapes import (
    Bool,
    Bytes,
    Choice,
    Date,
    DateTime,
    EnumChoice,
    Field,
    Float,
    Int,
    Length,
    List,
    Map,
    Null,
    Record,
    Shape,
    Str,
    Union,
    walk,
    without_null,
)


def to_mdl(root: Record) -> str:
    """Return `root` as MDL."""
    names = named_types(root, with_enums=True)
    writer = _Writer(names)
    parts = [writer.block(root)]
    if id(root) in names:
        parts[0] = f"{names[id(root)]} = {parts[0]}"
    parts += [
        f"{names[id(key)]} = {writer.definition(shape)}"
        for key, shape in _named_shapes(root, names)
        if shape is not root
    ]
    return "\n".join(parts)


def named_types(root: Record, *, with_enums: bool) -> dict[int, str]:
    """Return a unique name for each type that is used twice or contains itself, by id.

    The id is that of the Record, or of the Enum class.
    """
    counts: dict[int, int] = {}
    shapes: dict[int, tuple[str, Any]] = {}
    for _, shape, _ in walk(root):
        if isinstance(shape, Record):
            shapes[id(shape)] = (shape.name, shape)
            counts[id(shape)] = counts.get(id(shape), 0) + 1
        elif isinstance(shape, EnumChoice) and with_enums:
            shapes[id(shape.cls)] = (shape.cls.__name__, shape.cls)
            counts[id(shape.cls)] = counts.get(id(shape.cls), 0) + 1
    names: dict[int, str] = {}
    for key, (name, _) in shapes.items():
        if counts[key] < 2:
            continue
        plain = re.sub(r"\W+", "_", name).strip("_")
        taken = set(names.values())
        number = 2
        unique = plain
        while unique in taken:
            unique = f"{plain}_{number}"
            number += 1
        names[key] = unique
    return names


def _named_shapes(root: Record, names: dict[int, str]) -> list[tuple[Any, Shape]]:
    found: dict[int, tuple[Any, Shape]] = {}
    for _, shape, _ in walk(root):
        key: Any = shape.cls if isinstance(shape, EnumChoice) else shape
        if id(key) in names:
            found.setdefault(id(key), (key, shape))
    return list(found.values())


@dataclass(slots=True)
class _Writer:
    names: dict[int, str]
    indent: str = field(default="")

    def definition(self, shape: Shape) -> str:
        """Return the definition of a named type."""
        if not isinstance(shape, Record):
            return self._choice(shape)
        text = self._inline(shape)
        return f"{text} // {_first_line(shape.doc)}" if shape.doc else text

    def block(self, record: Record) -> str:
        """Return a record with one field per line."""
        if not record.fields:
            return "{}"
        outer = self.indent
        self.indent += "  "
        lines = [f"{self.indent}{self._field(one)}{self._comment(one)}" for one in record.fields]
        self.indent = outer
        return "\n".join(["{", *lines, f"{outer}}}"])

    def _field(self, one: Field) -> str:
        mark = "" if one.is_required else "?"
        default = _default(one)
        return f"{one.name}{mark}: {self.text(one.shape)}{default}"

    def text(self, shape: Shape, *, is_item: bool = False) -> str:
        """Return a shape on one line; `is_item` puts a union in parentheses."""
        match shape:
            case Str(length=length, pattern=pattern):
                limits = [size_text(length)] if length != Length() else []
                limits += [f"/{pattern}/"] if pattern is not None else []
                return f"string({', '.join(limits)})" if limits else "string"
            case Int(range=range_) | Float(range=range_):
                name = "int" if isinstance(shape, Int) else "float"
                limits_text = range_text(range_)
                return f"{name}({limits_text})" if limits_text else name
            case Bool():
                return "bool"
            case Null():
                return "null"
            case Bytes(is_object=is_object):
                return "{base64: base64}" if is_object else "base64"
            case Date():
                return "date"
            case DateTime():
                return "datetime"
            case Choice() | EnumChoice():
                if isinstance(shape, EnumChoice) and id(shape.cls) in self.names:
                    return self.names[id(shape.cls)]
                choice = self._choice(shape)
                return f"({choice})" if is_item and len(shape.values) > 1 else choice
            case List(item=item, length=length):
                size = "" if length == Length() else size_text(length)
                return f"{self.text(item, is_item=True)}[{size}]"
            case Map(value=value, length=length):
                size = "" if length == Length() else f"({size_text(length)})"
                return f"{{[string]: {self.text(value)}}}{size}"
            case Record():
                return self._record(shape)
            case Union(members=members):
                text = " | ".join(self.text(member) for member in members)
                return f"({text})" if is_item else text

    def _record(self, record: Record) -> str:
        return self.names.get(id(record)) or self._inline(record)

    def _inline(self, record: Record) -> str:
        inline = ", ".join(self._field(one) for one in record.fields)
        if "\n" in inline or any(self._comment(one) for one in record.fields):
            return self.block(record)
        return f"{{{inline}}}"

    def _comment(self, one: Field) -> str:
        """Return the description of a field, else of the record in it, as a comment."""
        about = one.description
        shape = without_null(one.shape)[0]
        while isinstance(shape, List | Map) and not about:
            shape = shape.item if isinstance(shape, List) else shape.value
        if isinstance(shape, Record) and id(shape) not in self.names and not about:
            about = _first_line(shape.doc)
        return f" // {about}" if about else ""

    def _choice(self, shape: Shape) -> str:
        assert isinstance(shape, Choice | EnumChoice)
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in shape.values)


def _default(one: Field) -> str:
    """Return the default of a field, "" where there is none or it is not a plain value."""
    if one.is_required or not one.has_default or one.default is None:
        return ""
    value = one.default.value if isinstance(one.default, Enum) else one.default
    if not isinstance(value, str | int | float):
        return ""
    return f" = {json.dumps(value, ensure_ascii=False)}"


def _first_line(doc: str) -> str:
    return doc.partition("\n")[0].strip()

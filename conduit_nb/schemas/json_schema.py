"""Write shapes as JSON Schema (2020-12), in the form that grammar engines accept.

`anyOf`, never `oneOf`; closed objects, keys in order, no titles, no descriptions (those are in the
MDL); types that are used twice or contain themselves are under `$defs`.

A grammar made from it still allows some texts that `decode` rejects, each an error of its row:

- a number that no float holds: 1e999, or 400 digits in a `float` field;
- a whole number of more than 4,300 digits;
- a float on an exclusive bound, or so near that it is rounded to it (0.000…1 for `gt=0`);
- a duplicate key in a `dict[str, ...]`;
- more than 200 levels of nesting in a recursive dataclass;
- values that a class's own `__post_init__` rejects.

Days that do not exist, offsets of more than a day, fractions of less than a microsecond, lone
surrogates, wrong lengths, wrong keys, and texts that a pattern does not match cannot be written.
"""

from __future__ import annotations

from typing import Any

from conduit_nb.schemas.formats import BASE64_REGEX, DATE_REGEX, DATETIME_REGEX
from conduit_nb.schemas.mdl import named_types
from conduit_nb.schemas.patterns import anchored
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
    walk,
)


def to_json_schema(root: Record) -> dict[str, Any]:
    """Return `root` as a JSON Schema."""
    names = {
        key: "#" if key == id(root) else f"#/$defs/{name}"
        for key, name in named_types(root, with_enums=False).items()
    }
    writer = _Writer(names)
    schema = writer.record(root)
    definitions = {
        names[id(shape)].removeprefix("#/$defs/"): writer.record(shape)
        for _, shape, is_new in walk(root)
        if isinstance(shape, Record) and is_new and shape is not root and id(shape) in names
    }
    return {**schema, "$defs": definitions} if definitions else schema


class _Writer:
    def __init__(self, names: dict[int, str]) -> None:
        self._names = names

    def schema(self, shape: Shape) -> dict[str, Any]:
        match shape:
            case Str(length=length, pattern=pattern):
                limits = _given(minLength=length.min or None, maxLength=length.max)
                if pattern is not None:
                    limits["pattern"] = anchored(pattern)
                return {"type": "string", **limits}
            case Int(range=range_):
                return {"type": "integer", **_bounds(range_)}
            case Float(range=range_):
                return {"type": "number", **_bounds(range_)}
            case Bool():
                return {"type": "boolean"}
            case Null():
                return {"type": "null"}
            case Bytes(is_object=is_object):
                text = {"type": "string", "pattern": anchored(BASE64_REGEX)}
                return _closed({"base64": text}, ["base64"]) if is_object else text
            case Date():
                return {"type": "string", "format": "date", "pattern": anchored(DATE_REGEX)}
            case DateTime():
                return {
                    "type": "string",
                    "format": "date-time",
                    "pattern": anchored(DATETIME_REGEX),
                }
            case Choice() | EnumChoice():
                return _choice(shape.values)
            case List(item=item, length=length):
                limits = _given(minItems=length.min or None, maxItems=length.max)
                return {"type": "array", "items": self.schema(item), **limits}
            case Map(value=value, length=length):
                limits = _given(minProperties=length.min or None, maxProperties=length.max)
                return {"type": "object", "additionalProperties": self.schema(value), **limits}
            case Record():
                reference = self._names.get(id(shape))
                return self.record(shape) if reference is None else {"$ref": reference}
            case Union(members=members):
                return {"anyOf": [self.schema(member) for member in members]}

    def record(self, record: Record) -> dict[str, Any]:
        return _closed(
            {field.name: self.schema(field.shape) for field in record.fields},
            [field.name for field in record.fields if field.is_required],
        )


def _closed(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _choice(values: tuple[Scalar, ...]) -> dict[str, Any]:
    kinds = {_JSON_TYPES[type(value)] for value in values}
    kind = {"type": kinds.pop()} if len(kinds) == 1 else {}
    return {**kind, "enum": list(values)}


_JSON_TYPES: dict[type[Any], str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
}


def _bounds(range_: Range) -> dict[str, Any]:
    return _given(
        minimum=range_.ge,
        exclusiveMinimum=range_.gt,
        maximum=range_.le,
        exclusiveMaximum=range_.lt,
    )


def _given(**limits: float | None) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}

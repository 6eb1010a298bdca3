"""Checks of what is given when a block is made.

Layer 3.
"""

from __future__ import annotations

from typing import Any, TypeVar

from conduit_nb.blocks.ports import Port
from conduit_nb.errors import ArgumentError, SchemaError
from conduit_nb.schemas.shapes import Bytes, Choice, Shape, Str, Union

Number = TypeVar("Number", int, float)


def require_positive(name: str, value: Number) -> Number:
    """Return `value`; ArgumentError where it is no number above 0."""
    given: Any = value
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 2**53:
        raise ArgumentError(
            f"{name}={value!r} is not a number above 0.", hint=f"Give {name} as a plain number."
        )
    return value


def require_text_field(block: str, port: Port, field: str, *, or_bytes: bool = False) -> None:
    """Raise SchemaError unless every record that goes into the block has text in `field`."""
    wanted = "str or bytes" if or_bytes else "str"
    for schema in port.schemas:
        shape = schema.fields.get(field)
        if shape is None:
            raise SchemaError(
                f"{schema.name} has no field {field!r}, which {block} reads.",
                hint=f"Add `{field}: {wanted}` to {schema.name}.",
            )
        if not _is_text(shape, or_bytes=or_bytes):
            raise SchemaError(
                f"{block} reads {field!r}, and in {schema.name} that is no {wanted}.",
                path=f"$.{field}",
                hint=f"Declare it as `{field}: {wanted}`.",
            )


def _is_text(shape: Shape, *, or_bytes: bool) -> bool:
    match shape:
        case Str():
            return True
        case Choice(values=values):
            return all(isinstance(value, str) for value in values)
        case Bytes():
            return or_bytes
        case Union(members=members):
            return all(_is_text(member, or_bytes=or_bytes) for member in members)
        case _:
            return False

"""Schemas: a dataclass as prompt text (MDL), grammar (JSON Schema), validator and codec.

    schema = schema_of(Order)
    schema.mdl, schema.json_schema
    schema.decode(schema.encode(order)) == order

Pure: no files, no network, no model.
"""

from __future__ import annotations

from typing import Any, TypeVar

from conduit_nb.schemas.schema import Schema, prompt_messages, schema_of, schema_of_record
from conduit_nb.schemas.shapes import Length, Pattern, Range

__all__ = [
    "Length",
    "Pattern",
    "Range",
    "Schema",
    "decode",
    "encode",
    "json_schema",
    "mdl",
    "prompt_messages",
    "schema_of",
    "validate",
]

T = TypeVar("T")


def mdl(cls: type[Any]) -> str:
    """Return a dataclass as MDL: compact typed text for prompts and people."""
    return schema_of(cls).mdl


def json_schema(cls: type[Any]) -> dict[str, Any]:
    """Return a dataclass as a JSON Schema (2020-12)."""
    return schema_of(cls).json_schema


def encode(record: Any) -> str:
    """Return a record as compact JSON. Raises ValidationError where it does not fit its class."""
    return schema_of_record(record).encode(record)


def decode(text: str, cls: type[T]) -> T:
    """Return the record of `cls` that JSON text holds. Raises ValidationError."""
    return schema_of(cls).decode(text)


def validate(record: Any) -> None:
    """Raise ValidationError where a record does not fit its class."""
    schema_of_record(record).validate(record)

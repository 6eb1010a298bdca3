"""Few-shot examples of a cell: pairs as a user writes them, made records of the schemas.

Layer 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from conduit_nb.errors import ArgumentError, ValidationError
from conduit_nb.notebook.expressions import resolve
from conduit_nb.schemas import Schema
from conduit_nb.schemas.schema import schema_of_record
from conduit_nb.schemas.shapes import Choice, EnumChoice, Str, without_null

In = TypeVar("In")
Out = TypeVar("Out")

HOW = (
    "Give a list of pairs (input, output): records, dicts of their fields, or, where there is one "
    "text field, the text."
)


def read_examples(
    expression: str | None, names: dict[str, Any], takes: Schema[In], gives: Schema[Out]
) -> list[tuple[In, Out]]:
    """Return the pairs that `--examples` names, each side as a record.

    Raises ArgumentError where it is no list of pairs, ValidationError where one does not fit.
    """
    if expression is None:
        return []
    pairs = resolve(expression, names, what="--examples")
    if not isinstance(pairs, list | tuple):
        raise ArgumentError(f"--examples {expression} is {type(pairs).__name__}.", hint=HOW)
    found: list[tuple[In, Out]] = []
    for number, pair in enumerate(cast("Sequence[object]", pairs)):
        where = f"{expression}[{number}]"
        if not isinstance(pair, list | tuple) or len(cast("Sequence[object]", pair)) != 2:
            raise ArgumentError(f"{where} is no pair: {pair!r:.100}.", hint=HOW)
        given, wanted = cast("Sequence[object]", pair)
        found.append((_record(given, takes, f"{where}[0]"), _record(wanted, gives, f"{where}[1]")))
    return found


def _record(value: object, schema: Schema[In], where: str) -> In:
    if isinstance(value, schema.cls):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = schema_of_record(value).to_jsonable(value)
    if isinstance(value, str) and len(schema.fields) == 1:
        ((name, shape),) = schema.fields.items()
        core, _ = without_null(shape)  # a column with an empty cell makes its field optional
        if isinstance(core, Str | Choice | EnumChoice):
            value = {name: value}
    if not isinstance(value, Mapping):
        raise ArgumentError(
            f"{where} is {type(value).__name__}, where {schema.name} is wanted.", hint=HOW
        )
    try:
        return schema.from_jsonable(dict(cast("Mapping[str, object]", value)))
    except ValidationError as error:
        raise ValidationError(error.problems, subject=where) from error

"""What a user should look at in the result of a map, though nothing in it is an error.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.errors import ConduitError
from conduit_nb.notebook.details import is_chosen
from conduit_nb.schemas import Schema
from conduit_nb.units import counted

FEWEST_ALIKE = 10
"""Fewer rows may well be alike."""


def remarks(
    records: Sequence[object],
    takes: Schema[Any],
    gives: Schema[Any],
    outcomes: Sequence[DetailedAnswer[Any] | ConduitError],
) -> list[str]:
    """Return a line for each thing that is worth a look; `records` are what was asked about."""
    pairs = [
        (record, outcome.record)
        for record, outcome in zip(records, outcomes, strict=True)
        if isinstance(outcome, DetailedAnswer)
    ]
    empty = sum(_is_empty(record, takes) for record, _ in pairs)
    found = [_about_empty(empty, list(takes.fields))] if empty else []
    return [*found, *_about_alike([answer for _, answer in pairs], gives)]


def _is_empty(record: object, takes: Schema[Any]) -> bool:
    """Say whether the model had nothing to read."""
    values = [getattr(record, name) for name in takes.fields]
    return all(value is None or (isinstance(value, str) and not value.strip()) for value in values)


def _about_empty(number: int, fields: list[str]) -> str:
    where = fields[0] if len(fields) == 1 else "any of the columns"
    has, its = ("has", "its answer is") if number == 1 else ("have", "their answers are")
    return (
        f"{counted(number, 'row')} {has} nothing in {where}: {its} made up. "
        "Leave such rows out with dropna() before the map"
    )


def _about_alike(answered: Sequence[Any], gives: Schema[Any]) -> list[str]:
    if len(answered) < FEWEST_ALIKE:
        return []
    alike: list[str] = []
    for name, shape in gives.fields.items():
        values = [getattr(record, name) for record in answered]
        if is_chosen(shape) and values[0] is not None and all(one == values[0] for one in values):
            shown = values[0].value if isinstance(values[0], Enum) else values[0]
            alike.append(f"{name} {shown!r}")
    if not alike:
        return []
    return [
        f"Every row has {' and '.join(alike)}: see whether that is true. Examples (--examples) "
        "show the model what you mean; --confidence says how sure it was"
    ]

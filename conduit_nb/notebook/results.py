"""What a map's rows have come to, as columns of a DataFrame.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from conduit_nb.blocks.answers import DetailedAnswer
from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.details import (
    CONFIDENCE_SUFFIX,
    TRUNCATED_COLUMN,
    DetailColumns,
    lowest,
)
from conduit_nb.notebook.frames import ERROR_COLUMN, Rows
from conduit_nb.schemas import Schema
from conduit_nb.schemas.shapes import (
    Bool,
    Choice,
    DateTime,
    EnumChoice,
    Float,
    Int,
    Shape,
    Str,
    without_null,
)

Out = TypeVar("Out")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def require_free_names(
    rows: Rows, schema: Schema[Any], prefix: str, details: DetailColumns | None = None
) -> None:
    """Raise ArgumentError where a new column would take the name of one that is there."""
    added = [ERROR_COLUMN, *(details or DetailColumns()).names]
    new = [prefix + name for name in [*schema.fields, *added]]
    clash = [name for name in new if name in rows.values]
    if clash:
        raise ArgumentError(
            f"The rows already have the column{'s' if len(clash) > 1 else ''} "
            f"{', '.join(map(repr, clash))}.",
            hint="Put something before the new names (--prefix out_), or map the rows as they were "
            "before an earlier map.",
        )
    doubled = [name for name in new if new.count(name) > 1]
    if doubled:
        raise ArgumentError(
            f"{schema.name} has a field {doubled[0]!r}, the name of the column for "
            f"{_purpose(doubled[0].removeprefix(prefix))}.",
            hint="Give the field another name.",
        )


def result_frame(
    rows: Rows,
    schema: Schema[Out],
    outcomes: Sequence[DetailedAnswer[Out] | ConduitError],
    *,
    prefix: str = "",
    details: DetailColumns | None = None,
) -> pd.DataFrame:
    """Return the rows with the output's columns, `error` and `details` beside them.

    The index stays as it was. What a row that failed has no value for is missing.
    """
    result = rows.frame.copy()
    details = details or DetailColumns()
    answers = [None if isinstance(outcome, ConduitError) else outcome for outcome in outcomes]
    for name, shape in schema.fields.items():
        values = [None if answer is None else getattr(answer.record, name) for answer in answers]
        result[prefix + name] = _placed(_column(values, shape), result)
    if details.has_truncated:
        flags = [None if answer is None else answer.is_truncated for answer in answers]
        result[prefix + TRUNCATED_COLUMN] = pd.array(flags, dtype="boolean")
    for path in details.paths:
        sure = [None if answer is None else lowest(answer.confidence, path) for answer in answers]
        result[prefix + path + CONFIDENCE_SUFFIX] = pd.array(sure, dtype="Float64")
    errors = [outcome if isinstance(outcome, ConduitError) else None for outcome in outcomes]
    result[prefix + ERROR_COLUMN] = _placed(_objects(errors), result)
    return result


def _purpose(name: str) -> str:
    """Return what a column is for that is there beside those of the record."""
    return {ERROR_COLUMN: "row errors", TRUNCATED_COLUMN: "truncated rows"}.get(name, "confidence")


def _column(values: list[Any], shape: Shape) -> Any:
    """Return the values as the array of the type that suits the shape."""
    core, _ = without_null(shape)
    match core:
        case Str():
            return pd.array(values, dtype="string")
        case Float():
            return pd.array(values, dtype="Float64")
        case Bool():
            return pd.array(values, dtype="boolean")
        case Int():
            fits = all(value is None or INT64_MIN <= value <= INT64_MAX for value in values)
            return pd.array(values, dtype="Int64") if fits else _objects(values)
        case Choice() | EnumChoice():
            plain = [value.value if isinstance(value, Enum) else value for value in values]
            categories = list(core.values)
            has_distinct = len(set(categories)) == len(categories)  # 1 and True are the same here
            return pd.Categorical(plain, categories) if has_distinct else _objects(plain)
        case DateTime():
            return _moments(values)
        case _:
            return _objects(values)


def _placed(column: Any, frame: pd.DataFrame) -> Any:
    """Return a Series with the frame's index, so that it goes in row by row."""
    if isinstance(column, pd.Series):
        return cast("pd.Series[Any]", column).set_axis(frame.index)
    return column


def _moments(values: list[datetime | None]) -> Any:
    try:
        moments = [None if value is None else value.astimezone(UTC) for value in values]
    except OverflowError:  # the first or the last day that there is, in another zone
        return _objects(values)
    return pd.array(moments, dtype=pd.DatetimeTZDtype("us", "UTC"))


def _objects(values: Sequence[Any]) -> pd.Series[Any]:
    """Return the values as they are; pandas looks for a type in anything but a Series."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return pd.Series(array, dtype=object)

"""What a map's rows have come to, as columns of a DataFrame.

The columns hold values that other libraries take (Parquet, SQL, JSON, Arrow): numbers, texts,
moments, and for nested records dicts. No object of ours stands in them.
Layer 7.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.frames import ERROR_CODE_COLUMN, ERROR_COLUMN, Rows
from conduit_nb.notebook.row_errors import error_texts, storable
from conduit_nb.schemas import Schema
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
    Record,
    Shape,
    Str,
    Union,
    are_alike,
    without_null,
)
from conduit_nb.units import counted

TRUNCATED_COLUMN = "truncated"
CONFIDENCE_SUFFIX = "_confidence"

_INDEX = re.compile(r"\[[0-9]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailColumns:
    """Which of them there are: `paths` are those of the fields that get a confidence."""

    has_truncated: bool = False
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the columns, without a prefix."""
        truncated = [TRUNCATED_COLUMN] if self.has_truncated else []
        return [*truncated, *(path + CONFIDENCE_SUFFIX for path in self.paths)]


def detail_columns(schema: Schema[Any], *, truncated: bool, confidence: bool) -> DetailColumns:
    """Return the columns for answers of `schema`.

    Each field that is chosen from a few (bool, Literal, Enum) has a confidence: at the top it is
    `{field}_confidence`, in a record inside `{field}.{field}_confidence`. In a list it is
    `{field}[].{field}_confidence`, the lowest of its items.
    """
    paths = _chosen_paths(schema.shape, "") if confidence else ()
    return DetailColumns(has_truncated=truncated, paths=tuple(dict.fromkeys(paths)))


def _chosen_paths(shape: Shape, path: str, above: tuple[Shape, ...] = ()) -> Iterator[str]:
    """Yield the paths of chosen values; a record inside of itself, and a dict, is left out."""
    if is_chosen(shape):
        yield path
        return
    match shape:
        case Record(fields=fields) if not any(shape is record for record in above):
            for field in fields:
                inside = f"{path}.{field.name}" if path else field.name
                yield from _chosen_paths(field.shape, inside, (*above, shape))
        case List(item=item):
            yield from _chosen_paths(item, f"{path}[]", above)
        case Union(members=members):
            for member in members:
                yield from _chosen_paths(member, path, above)
        case _:
            return


def is_chosen(shape: Shape) -> bool:
    """Say whether a value of `shape` is one of a few."""
    inner, _ = without_null(shape)
    members = inner.members if isinstance(inner, Union) else (inner,)
    return all(isinstance(member, Bool | Choice | EnumChoice) for member in members)


def lowest(confidence: Mapping[str, float], path: str) -> float | None:
    """Return the lowest confidence at `path`, over all items of the lists on the way."""
    found = [figure for place, figure in confidence.items() if _INDEX.sub("[]", place) == path]
    return min(found, default=None)


Out = TypeVar("Out")

ANSWER_COLUMN = "answer"
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def require_free_names(
    rows: Rows, schema: Schema[Any], prefix: str, details: DetailColumns | None = None
) -> None:
    """Raise ArgumentError where a new column would take the name of one that is there."""
    added = [ERROR_COLUMN, ERROR_CODE_COLUMN, *(details or DetailColumns()).names]
    new = [prefix + name for name in [*schema.fields, *added]]
    clash = [name for name in new if name in rows.values]
    if clash:
        raise ArgumentError(
            f"The rows already have the column{'s' if len(clash) > 1 else ''} "
            f"{', '.join(map(repr, clash))}.",
            param="prefix",
            hint="Put something before the new names (--prefix out_), or map the rows as they were "
            "before an earlier map.",
        )
    doubled = [name for name in new if new.count(name) > 1]
    if doubled:
        raise ArgumentError(
            f"{schema.name} has a field {doubled[0]!r}, the name of the column for "
            f"{_purpose(doubled[0].removeprefix(prefix))}.",
            param="output",
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
    """Return the rows with the output's columns, `details`, `error` and `error_code` beside them.

    The index stays as it was. What a row that failed has no value for is missing. The error objects
    are found with `conduit_nb.errors`.
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
    return with_errors(result, outcomes, prefix)


def plain_result(
    rows: Rows, outcomes: Sequence[DetailedAnswer[Any] | ConduitError], *, prefix: str = ""
) -> pd.DataFrame:
    """Return the rows with the answers as records, for where `result_frame` fails."""
    result = rows.frame.copy()
    records = [None if isinstance(one, ConduitError) else one.record for one in outcomes]
    result[prefix + ANSWER_COLUMN] = _placed(_objects(records), result)
    return with_errors(result, outcomes, prefix)


def with_errors(result: pd.DataFrame, outcomes: Sequence[object], prefix: str) -> pd.DataFrame:
    """Add the columns `error` and `error_code`."""
    errors = [outcome if isinstance(outcome, ConduitError) else None for outcome in outcomes]
    result[prefix + ERROR_COLUMN] = error_texts(errors)
    codes = [None if error is None else error.code for error in errors]
    result[prefix + ERROR_CODE_COLUMN] = pd.array(codes, dtype="string")
    return result


def _purpose(name: str) -> str:
    """Return what a column is for that is there beside those of the record."""
    purposes = {
        ERROR_COLUMN: "row errors",
        ERROR_CODE_COLUMN: "the codes of row errors",
        TRUNCATED_COLUMN: "truncated rows",
    }
    return purposes.get(name, "confidence")


def _column(values: list[Any], shape: Shape) -> Any:
    """Return the values as the array of the type that suits the shape."""
    core, _ = without_null(shape)
    match core:
        case Str():
            return _texts(values)
        case Float():
            return pd.array(values, dtype="Float64")
        case Bool():
            return pd.array(values, dtype="boolean")
        case Int():
            fits = all(value is None or INT64_MIN <= value <= INT64_MAX for value in values)
            return pd.array(values, dtype="Int64") if fits else _texts(values)
        case Choice(values=allowed) | EnumChoice(values=allowed):
            if len({type(one) for one in allowed}) > 1:  # a column has one type
                return _texts(values)
            plain = [value.value if isinstance(value, Enum) else value for value in values]
            return pd.Categorical(plain, list(allowed))
        case DateTime():
            return _moments(values)
        case Date():
            return _days(values)
        case Union(members=members) if all(isinstance(one, Int | Float) for one in members):
            return pd.array(values, dtype="Float64")
        case Union(members=members) if not all(isinstance(one, Record) for one in members):
            return _texts(values)
        case Record() | List() | Map() | Union():
            _teach_sqlite()
            return _objects(_storable_dicts([_plain(value, core) for value in values]))
        case _:
            return _objects(values)


def _plain(value: Any, shape: Shape) -> Any:
    """Return a nested value in JSON's types: a record as a dict, days and moments as text."""
    if value is None:
        return None
    core, _ = without_null(shape)
    match core:
        case Record():
            return _plain_record(value, (core,))
        case List(item=item):
            return [_plain(one, item) for one in value]
        case Map(value=inner):
            return {storable(key): _plain(one, inner) for key, one in value.items()}
        case Union(members=members) if all(isinstance(one, Record) for one in members):
            return _plain_record(value, cast("tuple[Record, ...]", members))
        case Union(members=members) if not all(isinstance(one, Int | Float) for one in members):
            return _text(value)
        case Choice(values=allowed) | EnumChoice(values=allowed):
            plain = value.value if isinstance(value, Enum) else value
            return plain if len({type(one) for one in allowed}) == 1 else _text(value)
        case _:
            return _jsonable(value)


def _plain_record(value: Any, members: tuple[Record, ...]) -> dict[str, Any]:
    """Return a record of one of several classes; a field that they share has one type in all."""
    exact = [one for one in members if one.cls is type(value)]
    plain: dict[str, Any] = {}
    for field in next(iter(exact or members)).fields:
        alike = [one for member in members for one in member.fields if one.name == field.name]
        cores = [without_null(one.shape)[0] for one in alike]
        kinds = {_kind(core) for core in cores}
        is_one = all(are_alike(cores[0], core) for core in cores[1:])
        is_one = is_one or (len(kinds) == 1 and None not in kinds)
        shape = field.shape if is_one else Union(members=tuple(cores))
        plain[field.name] = _plain(getattr(value, field.name), shape)
    return plain


def _kind(core: Shape) -> type | None:
    """Return the type that a plain value has which is no list and no dict; None for several."""
    match core:
        case Str() | Date() | DateTime() | Bytes():
            return str
        case Int() | Float():
            return float
        case Bool():
            return bool
        case Choice(values=allowed) | EnumChoice(values=allowed):
            kinds = {type(one) for one in allowed}
            only = kinds.pop() if len(kinds) == 1 else None
            return float if only is int else only
        case _:
            return None


def _storable_dicts(values: list[Any]) -> list[Any]:
    """Return values of one column with None for dicts that are empty in every row, at any depth.

    Parquet has no struct without a field.
    """
    dicts = [cast("dict[str, Any]", value) for value in values if isinstance(value, dict)]
    keys = dict.fromkeys(key for value in dicts for key in value)
    if dicts and not keys:
        return [None if isinstance(value, dict) else value for value in values]
    for key in keys:
        holders = [value for value in dicts if key in value]
        inner = _storable_dicts([value[key] for value in holders])
        for holder, one in zip(holders, inner, strict=True):
            holder[key] = one
    lists = [cast("list[Any]", value) for value in values if isinstance(value, list)]
    items = iter(_storable_dicts([item for value in lists for item in value]) if lists else ())
    for value in lists:
        value[:] = [next(items) for _ in value]
    return values


def _jsonable(value: Any) -> Any:
    """Return a value without a shape of its own (a default for what JSON cannot say) for JSON."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, str):
        return storable(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return value


def _text(value: Any) -> str | None:
    plain = _jsonable(value)
    if plain is None or isinstance(plain, str):
        return plain if plain is None else storable(plain)
    return json.dumps(plain, ensure_ascii=False, default=_jsonable)


def _texts(values: Sequence[Any]) -> Any:
    """Return values as texts; those of several types too, as no column's type holds them all."""
    return pd.array([_text(value) for value in values], dtype="string")


def _teach_sqlite() -> None:
    """Let sqlite3 take dicts and lists as JSON, so that `to_sql` takes a nested column.

    Whoever has taught it something else is left alone.
    """
    for kind in (dict, list):
        known: dict[Any, Any] = cast("Any", sqlite3).adapters
        if (kind, sqlite3.PrepareProtocol) not in known:
            sqlite3.register_adapter(kind, _to_json)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


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


def _days(values: list[date | None]) -> Any:
    return pd.array(
        np.array([np.datetime64("NaT") if value is None else value for value in values], "M8[s]")
    )


def _objects(values: Sequence[Any]) -> pd.Series[Any]:
    """Return the values as they are; pandas looks for a type in anything but a Series."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return pd.Series(array, dtype=object)


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

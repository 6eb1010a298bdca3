"""Rows of a DataFrame to records of a schema.

What pandas does to plain values on their way into a frame is undone here: scalars of numpy, the
many kinds of missing, whole numbers and days that a column could only hold as something else.
Nothing else is converted: a value that does not fit its field is its row's error.
Layer 7.
"""

from __future__ import annotations

import base64
import dataclasses
import keyword
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Generic, TypeVar, Union, cast
from uuid import UUID

import numpy as np
import pandas as pd

from conduit_nb.blocks.ports import snapshots
from conduit_nb.errors import ArgumentError, ConduitError, ValidationError
from conduit_nb.notebook.arguments import split_outside
from conduit_nb.notebook.expressions import how_to_read, resolve
from conduit_nb.schemas import Schema
from conduit_nb.schemas.schema import schema_of_record
from conduit_nb.schemas.shapes import (
    Choice,
    Date,
    EnumChoice,
    Int,
    Shape,
    Str,
    without_null,
)
from conduit_nb.spelling import nearest

In = TypeVar("In")

ERROR_COLUMN = "error"
ERROR_CODE_COLUMN = "error_code"
TEXT_COLUMN = "text"
ROW = "row"
"""The subject of the error of a row that does not fit the input."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a map reads. `values` are plain Python values by column, as long as the frame.

    Nobody else has the frame: it is a copy, and stays as the rows were when the map began. Rows
    that came as records of one dataclass are kept as such.
    """

    frame: pd.DataFrame
    values: Mapping[str, Sequence[Any]]
    records: Sequence[Any] | None = None
    record_type: type[Any] | None = None

    def __len__(self) -> int:
        return len(self.frame)


def read_rows(source: object, *, what: str, limit: int | None = None) -> Rows:
    """Return the rows of a DataFrame or Series, or of a list of texts, records or dicts.

    A Series without a name, and texts, become a column `text`. `limit` takes the first so many.
    """
    if isinstance(source, pd.Series):
        source = cast("pd.Series[Any]", source)
        source = source.to_frame(TEXT_COLUMN if source.name is None else source.name)
    if isinstance(source, pd.DataFrame):
        return _from_frame(source if limit is None else source.head(limit), what)
    if isinstance(source, list | tuple):
        return _from_list(snapshots(cast("Sequence[object]", source)[:limit]), what)
    raise ArgumentError(
        f"{what} is {type(source).__name__}, not rows.",
        param="rows",
        hint=(how_to_read(source) if isinstance(source, str) else "")
        or "Give a DataFrame, a Series, or a list of texts, records or dicts.",
    )


def read_columns(text: str | None) -> dict[str, str] | None:
    """Read `a,b` or `field="Column Name",b` as field -> column."""
    if text is None:
        return None
    chosen: dict[str, str] = {}
    for part in split_outside(text, lambda character: character == ","):
        field, equals, column = part.partition("=")
        field = _unquoted(field)
        if not field or (equals and not column.strip()) or field in chosen:
            raise ArgumentError(
                f"--columns {text!r} has an empty or a doubled name.",
                param="columns",
                hint='Write it as --columns a,b or --columns field="Column Name",b',
            )
        chosen[field] = _unquoted(column) if equals else field
    return chosen


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'")


def derived_input(rows: Rows, columns: Mapping[str, str] | None) -> type[Any]:
    """Return a dataclass made from the columns: all of them, or those chosen."""
    if rows.record_type is not None and columns is None:
        return rows.record_type
    chosen = dict(columns) if columns is not None else _all_columns(rows)
    if not rows.values and not len(rows):  # an empty list has no columns to look at
        return dataclasses.make_dataclass("Row", [(name, str) for name in chosen or [TEXT_COLUMN]])
    for field, column in chosen.items():
        _require_column(rows, column, needed_by="--columns")
        if not field.isidentifier() or keyword.iskeyword(field) or field.startswith("_"):
            raise ArgumentError(
                f"The column {column!r} cannot be the name of a field.",
                param="columns",
                hint="Give it one, and name the others that you need: "
                f'--columns {as_name(column)}="{column}"',
            )
    if not chosen:
        raise ArgumentError(
            "The rows have no columns.", param="rows", hint="Give rows with values in them."
        )
    fields = [(field, _type_of(rows.values[column], column)) for field, column in chosen.items()]
    return dataclasses.make_dataclass("Row", fields)


def to_records(
    rows: Rows, schema: Schema[In], columns: Mapping[str, str] | None
) -> list[In | ConduitError]:
    """Return a record for each row; for a row that does not fit, its ValidationError.

    Raises ArgumentError where a column is missing.
    """
    if rows.records is not None and rows.record_type is schema.cls and columns is None:
        return [_checked(schema, record) for record in rows.records]
    if not rows.values and not len(rows):
        return []
    sources: dict[str, Sequence[Any]] = {}
    optional = {field.name for field in schema.shape.fields if not field.is_required}
    for name, shape in schema.fields.items():
        column = (columns or {}).get(name, name)
        if column not in rows.values and name in optional and name not in (columns or {}):
            continue
        _require_column(rows, column, needed_by=f"{schema.name}.{name}")
        sources[name] = _as_meant(rows.values[column], shape)
    for name in columns or {}:
        if name not in schema.fields:
            raise ArgumentError(
                f"--columns names {name!r}, which {schema.name} has no field for.",
                param="columns",
                hint=nearest(name, list(schema.fields)) or f"It has: {', '.join(schema.fields)}.",
            )
    return [
        _to_record(schema, {name: source[index] for name, source in sources.items()})
        for index in range(len(rows))
    ]


def _from_frame(frame: pd.DataFrame, what: str) -> Rows:
    if frame.columns.nlevels > 1:
        raise ArgumentError(
            f"The columns of {what} have {frame.columns.nlevels} levels.",
            param="rows",
            hint=f"Flatten them: {what}.columns = ['_'.join(c) for c in {what}.columns]",
        )
    names = [str(name) for name in frame.columns]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ArgumentError(
            f"{what} has the column {doubled[0]!r} more than once.",
            param="rows",
            hint=f"Keep one of each: {what}.loc[:, ~{what}.columns.duplicated()]",
        )
    frame = _taken(frame)
    values = {name: _plain_column(frame.iloc[:, position]) for position, name in enumerate(names)}
    return Rows(frame=frame, values=values)


def _taken(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy that no change of the frame reaches, in a cell's list or dict neither."""
    taken = frame.copy()
    for position, kind in enumerate(taken.dtypes):
        if pd.api.types.is_object_dtype(kind):
            cells = np.empty(len(taken), dtype=object)
            cells[:] = snapshots(taken.iloc[:, position])
            column: Any = pd.Series(cells, index=taken.index, dtype=object)  # no type is looked for
            taken.isetitem(position, column)
    return taken


def _from_list(items: list[Any], what: str) -> Rows:
    kinds: set[type[Any]] = {type(item) for item in items}
    record_type: type[Any] | None = None
    if len(kinds) == 1 and dataclasses.is_dataclass(kind := next(iter(kinds))):
        record_type = kind
        records = [
            {field.name: getattr(item, field.name) for field in dataclasses.fields(kind)}
            for item in items
        ]
    elif kinds == {str}:
        records = [{TEXT_COLUMN: item} for item in items]
    elif all(isinstance(item, Mapping) for item in items):
        records = [dict(cast("Mapping[Any, Any]", item)) for item in items]
    else:
        shown = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ArgumentError(
            f"{what} is a list of {shown}.",
            param="rows",
            hint="Give a DataFrame, or a list of texts, of dicts, or of records of one dataclass.",
        )
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [{name: _as_cell(value) for name, value in record.items()} for record in records]
    return Rows(
        frame=pd.DataFrame(cells, columns=names),
        values={str(name): [_plain(record.get(name)) for record in records] for name in names},
        records=items if record_type else None,
        record_type=record_type,
    )


def _as_cell(value: Any) -> Any:
    """Return a record as a dict and a member of an Enum as its value, for other libraries."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _as_cell(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list):
        return [_as_cell(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _as_cell(item) for key, item in items}
    return value


def _require_column(rows: Rows, column: str, *, needed_by: str) -> None:
    if column in rows.values:
        return
    names = list(rows.values)
    raise ArgumentError(
        f"The rows have no column {column!r}, which {needed_by} names.",
        param="columns",
        hint=nearest(column, names, then=f"They have: {', '.join(names)}."),
    )


def error_columns(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns of a map's errors, each with that of their codes."""
    suffix = ERROR_CODE_COLUMN.removeprefix(ERROR_COLUMN)
    found = [name for name in names if name.endswith(ERROR_COLUMN) and name + suffix in names]
    return [(name, name + suffix) for name in found]


def _all_columns(rows: Rows) -> dict[str, str]:
    """Return every column but the errors of an earlier map, which say nothing to a model."""
    codes = {None, *_codes(ConduitError)}
    left_out = {
        name
        for pair in error_columns(list(rows.values))
        if all(isinstance(code, str | None) and code in codes for code in rows.values[pair[1]])
        for name in pair
    }
    return {name: name for name in rows.values if name not in left_out}


def _codes(kind: type[ConduitError]) -> set[str]:
    """Return the codes of an error and of all that derive from it."""
    return {kind.code}.union(*(_codes(derived) for derived in kind.__subclasses__()))


def as_name(column: str) -> str:
    """Return a field's name for a column's."""
    name = "".join(c if c.isalnum() else "_" for c in column.lower()).strip("_")
    return (
        name if name.isidentifier() and not keyword.iskeyword(name) else f"field_{name}".rstrip("_")
    )


def _to_record(schema: Schema[In], values: dict[str, Any]) -> In | ConduitError:
    try:
        return schema.from_jsonable(values)
    except ValidationError as error:
        return ValidationError(error.problems, subject=ROW, text=error.text)


def _checked(schema: Schema[In], record: In) -> In | ConduitError:
    try:
        schema.validate(record)
    except ValidationError as error:
        return ValidationError(error.problems, subject=ROW, text=error.text)
    return record


def _plain_column(series: pd.Series[Any]) -> list[Any]:
    return [_plain(value) for value in series.tolist()]


def _plain(value: Any) -> Any:
    """Return a value without what pandas and numpy made of it; every kind of missing is None."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.datetime64):
        return _plain(pd.Timestamp(cast("Any", value)))
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, pd.Interval | pd.Period | UUID | PurePath):
        return str(cast("object", value))
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, set | frozenset):  # in an order that is the same in every run
        return sorted(map(_plain, cast("set[Any]", value)), key=str)
    if isinstance(value, Mapping) and not isinstance(value, Enum):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    return value


def _type_of(values: Sequence[Any], column: str) -> Any:
    """Return the type that all the values have, Optional where one is missing."""
    there = [value for value in values if value is not None]
    kinds = {_kind(value, column) for value in there}
    found: Any
    if kinds == {list}:
        found = list[_type_of([item for value in there for item in value], column)]
    elif kinds == {dict}:
        items = [item for value in there for item in value.values()]
        found = dict[str, _type_of(items, column)]
    elif kinds <= {int, float, str, bool}:
        found = _union(kinds - {int} if float in kinds else kinds)
    elif kinds <= {str, date, datetime}:
        found = kinds.pop() if len(kinds) == 1 else str
    elif len(kinds) == 1:
        found = kinds.pop()
    else:
        raise _no_type(column, " and ".join(sorted(kind.__name__ for kind in kinds)))
    return found if len(there) == len(values) else Union[found, None]  # noqa: UP007  # found is a value here


def _kind(value: Any, column: str) -> type[Any]:
    """Return the type of field that holds the value."""
    if isinstance(value, Enum) or dataclasses.is_dataclass(value):
        return type(value)
    if isinstance(value, datetime):
        return str if value.tzinfo is None else datetime
    if isinstance(value, timedelta):
        return str
    if isinstance(value, Decimal):
        return float
    for kind in (bool, int, float, str, bytes, date, list, dict):
        if isinstance(value, kind):
            return kind
    raise _no_type(column, type(value).__name__)


def _no_type(column: str, kinds: str) -> ArgumentError:
    return ArgumentError(
        f"The column {column!r} holds {kinds} values, for which no field type can be derived.",
        param="columns",
        hint="Leave it out with --columns, or write the input as a dataclass of its own.",
    )


def _union(kinds: set[type[Any]]) -> Any:
    ordered = sorted(kinds or {str}, key=lambda kind: kind.__name__)
    return Union[tuple(ordered)]  # noqa: UP007  # made from a set


def _as_meant(values: Sequence[Any], shape: Shape) -> list[Any]:
    """Return the values as JSON-able Python, with what a column could not hold put right.

    Whole numbers with missing ones among them become floats in pandas, and days timestamps.
    """
    core, _ = without_null(shape)
    there = [value for value in values if value is not None]
    if isinstance(core, Int) and len(there) < len(values) and all(map(_is_whole, there)):
        return [None if value is None else int(value) for value in values]
    if isinstance(core, Date) and all(map(_is_day, there)):
        return [None if value is None else value.date().isoformat() for value in values]
    return [_jsonable(value) for value in values]


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_day(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None and value.time() == time()


def _jsonable(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {name: _jsonable(item) for name, item in items}
    return value


Out = TypeVar("Out")

HOW = (
    "Give a list of pairs (input, output): records, dicts of their fields, rows of a DataFrame, "
    "or, where there is one text field, the text. Or a DataFrame with the columns of both."
)


def read_examples(
    expression: str | None,
    names: dict[str, Any],
    takes: Schema[In],
    gives: Schema[Out],
    *,
    columns: Mapping[str, str] | None = None,
    prefix: str = "",
) -> list[tuple[In, Out]]:
    """Return the pairs that `--examples` names, each side as a record.

    Of a DataFrame each row is a pair: it has the columns of the input, which `columns` may rename,
    and those of the output, which may begin with `prefix`. A dict has inputs as its keys. Raises
    ArgumentError where it is no list of pairs, ValidationError where one does not fit.
    """
    if expression is None:
        return []
    given: Any = resolve(expression, names, what="--examples")
    reader = _Reader(takes, gives, dict(columns or {}), prefix)
    if isinstance(given, pd.DataFrame):
        return reader.rows(given, expression)
    if isinstance(given, pd.Series) or reader.is_whole(given):
        given = [given]
    elif isinstance(given, Mapping):
        given = list(cast("Mapping[Any, Any]", given).items())
    elif isinstance(given, tuple) and _is_one_pair(cast("tuple[object, ...]", given)):
        given = [given]
    if not isinstance(given, list | tuple):
        raise ArgumentError(
            f"--examples {expression} is {type(given).__name__}.", param="examples", hint=HOW
        )
    return [
        reader.pair(pair, f"{expression}[{number}]")
        for number, pair in enumerate(cast("Sequence[object]", given))
    ]


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) == 2


def _is_one_pair(given: tuple[object, ...]) -> bool:
    return _is_pair(given) and not _is_pair(given[0])


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader(Generic[In, Out]):
    """Reads examples of one input and output; `columns` are those of the input, by field."""

    takes: Schema[In]
    gives: Schema[Out]
    columns: dict[str, str]
    prefix: str

    def pair(self, pair: Any, where: str) -> tuple[In, Out]:
        """Return a pair: given as two, or as one row with the columns of both."""
        if isinstance(pair, pd.Series) or self.is_whole(pair):
            row: pd.Series[Any] = pd.Series(dict(cast("Mapping[Any, Any]", pair)), dtype=object)
            return self.rows(row.to_frame().T, where)[0]
        if not _is_pair(pair):
            raise ArgumentError(f"{where} is no pair: {pair!r:.100}.", param="examples", hint=HOW)
        given, wanted = pair
        return (
            _record(given, self.takes, f"{where}[0]", self.columns),
            _record(wanted, self.gives, f"{where}[1]", self._output_columns(wanted)),
        )

    def rows(self, frame: pd.DataFrame, where: str) -> list[tuple[In, Out]]:
        """Return a pair for each row of a table with the columns of both."""
        given = _records(frame, self.takes, where, self.columns)
        wanted = _records(
            frame, self.gives, where, self._output_columns(dict.fromkeys(frame.columns))
        )
        return list(zip(given, wanted, strict=True))

    def is_whole(self, row: Any) -> bool:
        """Say whether a dict has both the input and the output."""
        if not isinstance(row, Mapping):
            return False
        wanted = {self.columns.get(name, name) for name in self.takes.fields}
        return wanted | set(self._output_columns(row).values()) <= set(cast("Any", row))

    def _output_columns(self, row: Any) -> dict[str, str]:
        """Return field -> column of the output, as a dict or a row has it."""
        names = set(_names(row))
        return {
            name: self.prefix + name if self.prefix + name in names else name
            for name in self.gives.fields
        }


def _names(row: Any) -> Iterable[Any]:
    if isinstance(row, pd.Series):
        return cast("pd.Series[Any]", row).index
    return cast("Mapping[Any, Any]", row) if isinstance(row, Mapping) else ()


def _records(
    frame: pd.DataFrame, schema: Schema[In], where: str, columns: Mapping[str, str]
) -> list[In]:
    rows = read_rows(frame.infer_objects(), what=where)
    found: list[In] = []
    for number, record in enumerate(to_records(rows, schema, columns)):
        if isinstance(record, ValidationError):
            raise ValidationError(record.problems, subject=f"{where}[{number}]") from record
        if isinstance(record, ConduitError):
            raise record
        found.append(record)
    return found


def _record(value: object, schema: Schema[In], where: str, columns: Mapping[str, str]) -> In:
    if isinstance(value, schema.cls):
        return value
    if isinstance(value, pd.Series):
        row = cast("pd.Series[Any]", value)
        return _records(row.to_frame().T, schema, where, columns)[0]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = schema_of_record(value).to_jsonable(value)
    if isinstance(value, str) and len(schema.fields) == 1:
        ((name, shape),) = schema.fields.items()
        core, _ = without_null(shape)  # a column with an empty cell makes its field optional
        if isinstance(core, Str | Choice | EnumChoice):
            value = {name: value}
    if not isinstance(value, Mapping):
        raise ArgumentError(
            f"{where} is {type(value).__name__}, where {schema.name} is wanted.",
            param="examples",
            hint=HOW,
        )
    try:
        return schema.from_jsonable(dict(cast("Mapping[str, object]", value)))
    except ValidationError as error:
        raise ValidationError(error.problems, subject=where) from error

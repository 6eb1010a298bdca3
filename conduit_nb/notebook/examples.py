"""Few-shot examples of a cell: pairs as a user writes them, made records of the schemas.

Layer 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import pandas as pd

from conduit_nb.errors import ArgumentError, ConduitError, ValidationError
from conduit_nb.notebook.expressions import resolve
from conduit_nb.notebook.frames import read_rows, to_records
from conduit_nb.schemas import Schema
from conduit_nb.schemas.schema import schema_of_record
from conduit_nb.schemas.shapes import Choice, EnumChoice, Str, without_null

In = TypeVar("In")
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

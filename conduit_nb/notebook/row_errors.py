"""`conduit_nb.errors(result)`: the error objects of the rows that failed in a map.

A result holds the text of each error. Which object a text belongs to is kept here, by the identity
of the text, so that rows that are filtered, sorted, copied or joined keep their errors.
Layer 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.frames import ERROR_COLUMN, error_columns

KEPT = 10_000
"""Errors that are kept at least, beside those of the last map; older maps' are forgotten."""

_runs: list[dict[int, tuple[str, ConduitError]]] = []


def errors(result: object) -> pd.Series[Any]:
    """Return the errors of a map's result, by row: `errors(verdicts)[3].problems`.

    `result` is what the map bound, or rows of it, or its column `error`. Rows without an error are
    left out. Raises ArgumentError where the errors are not in this process (any more).
    """
    found = [_found(column, codes) for column, codes in _columns(result)]
    return found[0] if len(found) == 1 else pd.concat(found)


def error_texts(errors: Sequence[ConduitError | None]) -> Any:
    """Return the column with the texts of errors, and keep which text is whose."""
    run: dict[int, tuple[str, ConduitError]] = {}
    texts: list[str | None] = []
    of_error: dict[int, str] = {}  # one error may be that of many rows
    for error in errors:
        if error is None:
            texts.append(None)
            continue
        text = of_error.setdefault(id(error), _own_text(error))
        run[id(text)] = (text, error)
        texts.append(text)
    if run:
        _runs.append(run)
        while len(_runs) > 1 and sum(map(len, _runs)) > KEPT:
            _runs.pop(0)
    return pd.array(texts, dtype=pd.StringDtype("python"))  # pyright: ignore[reportCallIssue, reportArgumentType]  # pandas-stubs lacks it


def error_of(text: str) -> ConduitError | None:
    """Return the error that a text of a column `error` belongs to; None where nobody knows."""
    for run in reversed(_runs):
        if id(text) in run:
            return run[id(text)][1]
    return None


def _found(column: pd.Series[Any], codes: Sequence[Any]) -> pd.Series[Any]:
    places: list[int] = []
    values: list[ConduitError] = []
    for place, (text, code) in enumerate(zip(column, codes, strict=True)):
        if isinstance(text, str | ConduitError):
            places.append(place)
            values.append(text if isinstance(text, ConduitError) else _error(text, code))
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return pd.Series(objects, index=column.index.take(places), name=ERROR_COLUMN, dtype=object)


def _own_text(error: ConduitError) -> str:
    """Return an error's text as an object that no other error has."""
    return "".join([*storable(str(error))])


def storable(text: str) -> str:
    """Return the text with halves of surrogate pairs replaced, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _error(text: str, code: object) -> ConduitError:
    found = error_of(text)
    if found is not None:
        return found
    # The text is a copy, as after a round trip through Arrow: what it says has to be enough.
    alike = {
        id(error): error
        for run in _runs
        for known, error in run.values()
        if known == text and code in (None, error.code)
    }
    if len(alike) == 1:
        return next(iter(alike.values()))
    raise ArgumentError(
        f"The error object of {text!r:.100} is not in this process"
        f"{' for certain: several rows failed alike' if alike else ''}.",
        hint="Errors are kept for the results of recent maps, until the kernel ends. Of a result "
        "that was stored and read again, the columns error and error_code are what there is.",
    )


def _columns(result: object) -> Iterator[tuple[pd.Series[Any], Sequence[Any]]]:
    """Yield the columns with the texts of errors, each with the codes."""
    if isinstance(result, pd.DataFrame):
        pairs = error_columns([str(name) for name in result.columns])
        for texts, codes in pairs:
            yield result[texts], [None if pd.isna(one) else one for one in result[codes]]
        if pairs:
            return
    elif isinstance(result, pd.Series):
        series = cast("pd.Series[Any]", result)
        if all(_is_missing(one) or isinstance(one, str | ConduitError) for one in series):
            yield series, [None] * len(series)
            return
    raise ArgumentError(
        f"{type(cast('object', result)).__name__} is not the result of a map: it has no columns "
        "error and error_code.",
        param="result",
        hint="Give what the map bound: conduit_nb.errors(verdicts).",
    )


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))

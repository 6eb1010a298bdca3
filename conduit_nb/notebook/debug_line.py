"""`%conduit debug`: all of the last error, of any other, or of the rows that failed in a map.

Layer 7.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd

from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.background import BackgroundMap
from conduit_nb.notebook.display import Line, Shown, bounded, escaped, html_table, text_table
from conduit_nb.notebook.error_display import ErrorView, origin_of, problems_of, said_of
from conduit_nb.notebook.expressions import resolve
from conduit_nb.notebook.row_errors import error_of, errors
from conduit_nb.notebook.shell import Cell
from conduit_nb.units import counted

LIMIT = 20
NAMED_ROWS = 8
HEAD = ("rows", "which", "error", "field", "what is wrong", "text of the first", "what to do")


def debug(cell: Cell, error: str | None = None, *, limit: int = LIMIT) -> Shown:
    """Carry out `%conduit debug`."""
    if error is None:
        last = getattr(sys, "last_value", None)
        return ErrorView(last, whole=True) if last is not None else Line("Nothing has failed yet.")
    found = resolve(error, cell.shell.user_ns, what="ERROR|OUT")
    if isinstance(found, str):  # an error of a result stands there as its text
        found = error_of(found) or found
    if isinstance(found, BaseException):
        return ErrorView(found, whole=True)
    return FailedRows(failures(found, error), limit=limit)


def failures(rows: Any, what: str) -> list[tuple[str, ConduitError]]:
    """Return the errors of a map's result, or of any column or list, with the row of each."""
    if isinstance(rows, BackgroundMap):
        rows = rows.result()
    if isinstance(rows, pd.DataFrame | pd.Series):
        found = errors(cast("object", rows))
        return [(str(row), error) for row, error in found.items()]
    if isinstance(rows, str) or not hasattr(rows, "__iter__"):
        raise ArgumentError(
            f"{what} is neither an error nor the result of a map: {type(rows).__name__}.",
            param="error",
            hint="Name a result (verdicts), or one error of it (verdicts.error[3]).",
        )
    return [(str(row), error) for row, error in enumerate(rows) if isinstance(error, ConduitError)]


class FailedRows(Shown):
    """The rows that failed: which, in which field, why, and what the model said.

    Rows that failed alike share a line, which says how many they are.
    """

    def __init__(self, failed: Sequence[tuple[str, ConduitError]], *, limit: int = LIMIT) -> None:
        self._count = len(failed)
        groups: dict[tuple[str, ...], list[tuple[str, ConduitError]]] = {}
        for row, error in failed:
            key = (type(error).__name__, *_about(error), error.hint)
            groups.setdefault(key, []).append((row, error))
        self._groups = list(groups.values())
        self._limit = limit

    def _text(self) -> str:
        if not self._groups:
            return self._head
        return f"{self._head}\n\n{text_table(HEAD, self._lines())}"

    def _html(self) -> str:
        head = f"<div>{escaped(self._head)}</div>"
        return f"{head}{html_table(HEAD, self._lines())}" if self._groups else head

    @property
    def _head(self) -> str:
        if not self._count:
            return "No row failed."
        kinds = len(self._groups)
        alike = f" in {counted(kinds, 'way')}" if kinds < self._count else ""
        more = f"; the first {self._limit:,}" if kinds > self._limit else ""
        return f"{counted(self._count, 'row')} failed{alike}{more}:"

    def _lines(self) -> list[list[str]]:
        return [_line(group) for group in self._groups[: self._limit]]


def _line(group: Sequence[tuple[str, ConduitError]]) -> list[str]:
    """Return the cells for rows that failed alike; the text is that of the first."""
    error = group[0][1]
    more = f", … ({len(group) - NAMED_ROWS:,} more)" if len(group) > NAMED_ROWS else ""
    rows = ", ".join(row for row, _ in group[:NAMED_ROWS]) + more
    said = said_of(error)
    text = f"{origin_of(error)}: {said}" if said else ""
    cells = [rows, type(error).__name__, *_about(error), text, error.hint]
    return [f"{len(group):,}", *(bounded(cell, 300) for cell in cells)]


def _about(error: ConduitError) -> tuple[str, str]:
    """Return the fields and what is wrong with them."""
    problems = problems_of(error)
    fields = "; ".join(problem.path for problem in problems[:5])
    return fields, "; ".join(problem.message for problem in problems[:5]) or str(error)

"""`%conduit debug`: all of the last error, of any other, or of the rows that failed in a map.

Layer 7.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.arguments import MagicParser, at_least_one
from conduit_nb.notebook.display import Line, Shown, bounded, escaped, html_table, text_table
from conduit_nb.notebook.error_display import ErrorView, problems_of, said_of
from conduit_nb.notebook.expressions import resolve
from conduit_nb.notebook.shell import Shell
from conduit_nb.units import counted

USAGE = "%conduit debug [ERROR|OUT] [--limit N]"
LIMIT = 20
HEAD = ("row", "error", "field", "what is wrong", "the model's text", "what to do")


def debug(shell: Shell, tokens: Sequence[str], cell: str) -> Shown:  # noqa: ARG001  # every command is called alike
    """Carry out `%conduit debug`."""
    parser = MagicParser("%conduit debug", usage=USAGE)
    parser.add_argument("error", nargs="?", metavar="ERROR|OUT")
    parser.option("--limit", metavar="N", type=at_least_one, default=LIMIT)
    arguments = parser.parse_line(tokens)
    if arguments.error is None:
        last = getattr(sys, "last_value", None)
        return ErrorView(last, whole=True) if last is not None else Line("Nothing has failed yet.")
    found = resolve(arguments.error, shell.user_ns, what="ERROR|OUT")
    if isinstance(found, BaseException):
        return ErrorView(found, whole=True)
    return FailedRows(failures(found, arguments.error), limit=arguments.limit)


def failures(rows: Any, what: str) -> list[tuple[str, ConduitError]]:
    """Return the errors of a map's result, or of any column or list, with the row of each."""
    column = rows
    names = [str(name) for name in getattr(rows, "columns", ())]
    if names:
        found = [name for name in names if name == "error" or name.endswith("_error")]
        column = rows[found[0]] if found else None
    if column is None or isinstance(column, str) or not hasattr(column, "__iter__"):
        raise ArgumentError(
            f"{what} is neither an error nor the result of a map: {type(rows).__name__}.",
            hint="Name a result (verdicts), or one error of it (verdicts.error[3]).",
        )
    pairs = column.items() if hasattr(column, "items") else enumerate(column)
    return [(str(row), error) for row, error in pairs if isinstance(error, ConduitError)]


class FailedRows(Shown):
    """The rows that failed: which, in which field, why, and what the model said."""

    def __init__(self, failed: Sequence[tuple[str, ConduitError]], *, limit: int = LIMIT) -> None:
        self._failed = list(failed)
        self._limit = limit

    def _text(self) -> str:
        if not self._failed:
            return self._head
        return f"{self._head}\n\n{text_table(HEAD, self._cells())}"

    def _html(self) -> str:
        head = f"<div>{escaped(self._head)}</div>"
        return f"{head}{html_table(HEAD, self._cells())}" if self._failed else head

    @property
    def _head(self) -> str:
        count = len(self._failed)
        if not count:
            return "No row failed."
        more = f"; the first {self._limit:,}" if count > self._limit else ""
        return f"{counted(count, 'row')} failed{more}:"

    def _cells(self) -> list[list[str]]:
        return [_row(row, error) for row, error in self._failed[: self._limit]]


def _row(row: str, error: ConduitError) -> list[str]:
    problems = problems_of(error)
    fields = "; ".join(problem.path for problem in problems[:5])
    wrong = "; ".join(problem.message for problem in problems[:5]) or str(error)
    cells = [row, type(error).__name__, fields, wrong, said_of(error), error.hint]
    return [bounded(cell, 300) for cell in cells]

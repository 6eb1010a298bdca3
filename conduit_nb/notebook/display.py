"""How Conduit's things look in a notebook, in a terminal and on paper.

Knows text and HTML; all text that is shown may be foreign (a model's, a server's, a file's), so
it is escaped here and nowhere else. No scripts, no style sheets: what is shown survives nbconvert,
GitHub and a reopened notebook.
Layer 7.
"""

from __future__ import annotations

import dataclasses
import html
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from conduit_nb.plain_text import plain
from conduit_nb.units import dollars

T = TypeVar("T")

LONGEST_CELL = 200
LONGEST_TABLE_CELL = 2_000
LONGEST_LINE = 4_000
LONGEST_SHOWN = 100_000
TABLE_TYPE = "application/vnd.conduit.table+json"  # JupyterLab's part draws it


class Shown:
    """Something with a text and an HTML form. Derive and write `_text` and `_html`."""

    def _text(self) -> str:
        raise NotImplementedError

    def _html(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:  # noqa: ARG002  # Jupyter's protocol
        return {"text/plain": self._text(), "text/html": self._html()}

    def __repr__(self) -> str:
        return self._text()


def html_of(shown: Shown) -> str:
    """Return the HTML of something shown, to stand inside of other HTML."""
    return shown._html()  # pyright: ignore[reportPrivateUsage]  # this is its family


class Line(Shown):
    """One line of text."""

    def __init__(self, text: str) -> None:
        self._said = text

    def _text(self) -> str:
        return bounded(self._said, LONGEST_LINE)

    def _html(self) -> str:
        return f"<div>{escaped(shortened(self._said, LONGEST_LINE))}</div>"


class Text(Shown):
    """Several lines, in which blanks matter."""

    def __init__(self, text: str) -> None:
        self._said = text

    def _text(self) -> str:
        return bounded(self._said)

    def _html(self) -> str:
        return preformatted(self._said)


class Listings(Shown):
    """Titled code: the MDL of schemas, for one."""

    def __init__(self, listings: Mapping[str, str], *, head: str = "") -> None:
        self._listings = {shortened(title, LONGEST_LINE): listings[title] for title in listings}
        self._head = shortened(head, LONGEST_LINE)

    def _text(self) -> str:
        parts = [self._head] if self._head else []
        parts += [f"{title}\n{_indented(code)}" for title, code in self._listings.items()]
        return bounded("\n\n".join(parts))

    def _html(self) -> str:
        parts = [f"<div>{escaped(self._head)}</div>"] if self._head else []
        for title, code in self._listings.items():
            parts.append(f"<div><strong>{escaped(title)}</strong></div>")
            parts.append(self._code(code))
        return "".join(parts)

    def _code(self, code: str) -> str:
        return preformatted(code)


class Table(list[T]):
    """A list that shows itself as a table, one column for each field of its records."""

    def __init__(self, rows: Iterable[T], *, empty: str) -> None:
        super().__init__(rows)
        self._empty = shortened(empty, LONGEST_LINE)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:  # noqa: ARG002  # Jupyter's protocol
        head, body = self._cells()
        if not body:
            return {
                "text/plain": plain(self._empty),
                "text/html": f"<div>{escaped(self._empty)}</div>",
            }
        return {
            "text/plain": fitting_table(head, body),
            "text/html": html_table(head, body),
            TABLE_TYPE: {
                "columns": head,
                "rows": [[bounded(cell, LONGEST_TABLE_CELL) for cell in row] for row in body],
            },
        }

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        records = [_fields(row) for row in self]
        names = list(dict.fromkeys(name for record in records for name in record))
        used = [name for name in names if any(record.get(name) is not None for record in records)]
        body = [[_shown(record.get(name), name) for name in used] for record in records]
        return [name.replace("_", " ") for name in used], body


def escaped(text: str) -> str:
    """Return text that HTML shows as it is written."""
    return html.escape(bounded(text), quote=True)


def bounded(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Return text that is safe to show, its end left out where it would fill the screen."""
    return plain(shortened(text, longest))


def preformatted(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Return text in which blanks and line ends matter."""
    # Style sheets of other places (nbconvert's pages) set <pre> in letters of differing width.
    return f'<pre style="font-family: monospace">{escaped(shortened(text, longest))}</pre>'


def shortened(text: str, longest: int = LONGEST_CELL) -> str:
    """Return the text's beginning, with an ellipsis where something was left out."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _indented(code: str) -> str:
    return "\n".join(f"  {line}" for line in code.splitlines())


def _fields(row: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # any mapping may be shown
    return {"value": row}


def _shown(value: object, name: str = "") -> str:
    if value is None:
        return ""
    if "usd" in name and isinstance(value, float | int):
        return dollars(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        parts = cast("Mapping[object, object]", value).items()
        return shortened(", ".join(f"{name}: {part}" for name, part in parts))
    if isinstance(value, list | tuple):
        return shortened(", ".join(str(part) for part in value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # any list may be shown
    return shortened(str(value))


def fitting_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return columns of text; in a terminal that is too narrow for them a block for each row."""
    table = text_table(head, body)
    if not sys.stdout.isatty():
        return table
    columns = shutil.get_terminal_size().columns
    if max(map(len, table.splitlines())) <= columns:
        return table
    width = max(map(len, head))
    return "\n\n".join(
        "\n".join(
            f"{name.ljust(width)}  {bounded(cell, LONGEST_TABLE_CELL)}".replace("\n", " ")
            for name, cell in zip(head, row, strict=True)
            if cell
        )
        for row in body
    )


def text_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return columns of text, padded with blanks."""
    rows = [
        [bounded(cell, LONGEST_TABLE_CELL).replace("\n", " ") for cell in row]
        for row in [head, *body]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table without styles of its own; every cell is escaped."""
    heading = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in head)
    rows = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in body)
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table>"


def _html_cell(cell: str) -> str:
    return f"<td>{escaped(shortened(cell, LONGEST_TABLE_CELL))}</td>"

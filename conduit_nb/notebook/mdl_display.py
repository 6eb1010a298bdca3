"""How a schema looks: its MDL, coloured, and in one line where it is short.

The colours are those of the notebook's own editor, so that they follow its theme; where there is
none they are readable on white and on black. Where styles are stripped, the text is whole.
Layer 7.
"""

from __future__ import annotations

import re

from conduit_nb.notebook.display import LONGEST_SHOWN, Listings, Shown, bounded, escaped, shortened
from conduit_nb.schemas import Schema

LONGEST_LINE = 90

_TOKEN = re.compile(
    r"""
    (?P<comment>\ //\ .*$)
  | (?P<string>"(?:[^"\\\n]|\\.)*" | /(?:[^/\\\n]|\\.)+/(?=[,)]))
  | (?P<property>[^\W\d]\w*(?=\??:\ ))
  | (?P<keyword>\b(?:string|int|float|bool|null|base64|date|datetime|true|false)\b)
  | (?P<number>(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    """,
    re.VERBOSE | re.MULTILINE,
)
_STYLES = {
    "comment": "font-style:italic",
    "string": "color:var(--jp-mirror-editor-string-color,#c0453c)",
    "property": "color:var(--jp-mirror-editor-property-color,#2f78c4)",
    "keyword": "color:var(--jp-mirror-editor-keyword-color,#2f8132)",
    "number": "color:var(--jp-mirror-editor-number-color,#2f8132)",
}


class SchemaView(Shown):
    """A schema as a model reads it."""

    def __init__(self, schema: Schema[object]) -> None:
        self._schema = schema

    def _text(self) -> str:
        return bounded(self._schema.mdl)

    def _html(self) -> str:
        return mdl_html(self._schema.mdl)


class SchemaListings(Listings):
    """Titled schemas."""

    def _code(self, code: str) -> str:
        return mdl_html(code)


def mdl_html(mdl: str) -> str:
    """Return MDL as a coloured block."""
    return f'<pre style="font-family: monospace">{coloured(shortened(mdl, LONGEST_SHOWN))}</pre>'


def coloured(mdl: str) -> str:
    """Return MDL with its parts in colours; every part of it is escaped."""
    parts: list[str] = []
    reached = 0
    for found in _TOKEN.finditer(mdl):
        parts.append(escaped(mdl[reached : found.start()]))
        parts.append(f'<span style="{_STYLES[found.lastgroup or ""]}">{escaped(found[0])}</span>')
        reached = found.end()
    return "".join([*parts, escaped(mdl[reached:])])


def one_line(mdl: str) -> str | None:
    """Return MDL in one line, None where it is too long, nested or commented for that."""
    first, *fields = mdl.splitlines()
    if not fields:
        return first
    if first != "{" or fields[-1] != "}" or any(" // " in line for line in fields):
        return None
    if any(not line.startswith("  ") or line.startswith("   ") for line in fields[:-1]):
        return None
    line = f"{{{', '.join(line.strip() for line in fields[:-1])}}}"
    return line if len(line) <= LONGEST_LINE else None

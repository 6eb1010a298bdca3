"""notebook/display.py: what is shown, and that foreign text stays text."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.notebook.display import TABLE_TYPE, Line, Listings, Shown, Table, Text, escaped
from conduit_nb.plain_text import plain

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre><b>bold</b>",
    "a\x1b[31mred\x1b[0m",
    "abc\u202edcba\u2066",
    "one\rtwo\x00",
]


class Tags(HTMLParser):
    """Collects what HTML holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass
class Node:
    name: str
    started_at: datetime | None = None
    idle_s: float | None = None
    models: Any = None


def shown(thing: Any) -> tuple[str, str]:
    bundle = thing._repr_mimebundle_()
    return bundle["text/plain"], bundle["text/html"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "make",
    [
        Line,
        Text,
        lambda text: Listings({text: text}, head=text),
        lambda text: Table([Node(text, models={text: text}), Node(text, models=[text])], empty=""),
        lambda text: Table([], empty=text),
    ],
    ids=["line", "text", "listings", "table", "empty table"],
)
def test_foreign_text_is_shown_as_text(make: Any, text: str):
    said, html = shown(make(text))

    parsed = Tags(html)
    assert not set(parsed.tags) - {
        "div",
        "pre",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    for control in "\x1b\x00\r\u202e\u2066":
        assert control not in said
        assert control not in parsed.text
    assert plain(text) in parsed.text


def test_plain_text_keeps_line_ends_tabs_and_every_script():
    assert plain("a\tb\nжук 漢字 ‰ 👍🏽") == "a\tb\nжук 漢字 ‰ 👍🏽"


def test_a_quote_cannot_end_an_attribute():
    assert escaped("\"'<>&") == "&quot;&#x27;&lt;&gt;&amp;"


def test_a_table_has_a_column_for_every_field_that_someone_has():
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    table = Table([Node("a", moment, 1234.56), Node("bb", None, 2.0)], empty="nothing")

    text, html = shown(table)

    here = moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert text.splitlines() == [
        f"name  {'started at'.ljust(len(here))}  idle s",
        f"a     {here}  1,234.6",
        f"bb    {' ' * len(here)}  2.0",
    ]
    assert Tags(html).text == f"namestarted atidle sa{here}1,234.6bb2.0"
    assert html.count('scope="col"') == 3


def test_a_table_is_a_list():
    table = Table([Node("a")], empty="nothing")

    assert table[0].name == "a"
    assert len(table) == 1


def test_an_empty_table_says_so():
    assert shown(Table[Node]([], empty="Nothing runs.")) == (
        "Nothing runs.",
        "<div>Nothing runs.</div>",
    )
    assert repr(Table[Node]([], empty="Nothing runs.")) == "Nothing runs."


def test_what_is_too_long_for_a_cell_of_a_table_is_cut():
    text, _ = shown(Table([Node("x" * 100_000)], empty=""))

    assert len(text) < 500
    assert "…" in text


def test_a_listing_is_indented_below_its_title():
    text, html = shown(Listings({"Review": "{\n  text: string\n}"}, head="judge"))

    assert text == "judge\n\nReview\n  {\n    text: string\n  }"
    assert 'monospace">{\n  text: string\n}</pre>' in html


def test_everything_shown_has_a_repr_of_text():
    things: list[Shown] = [Line("a"), Text("a"), Listings({}, head="a")]

    assert [repr(thing) for thing in things] == ["a", "a", "a"]


def test_a_table_is_kept_as_data_that_jupyterlabs_part_draws():
    bundle = Table([{"name": "<b>one\x1b[31m", "usd": 1.5}], empty="None.")._repr_mimebundle_()

    assert bundle[TABLE_TYPE] == {
        "columns": ["name", "usd"],
        "rows": [[plain("<b>one\x1b[31m"), "$1.50"]],
    }
    assert "\x1b" not in json.dumps(bundle[TABLE_TYPE]).replace("\\u001b", "\x1b")
    renderer = Path(__file__).parents[2] / "extension/src/lab/records.ts"
    assert f"'{TABLE_TYPE}'" in renderer.read_text()


def test_in_a_terminal_that_is_too_narrow_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch):
    rows = Table([{"name": "a", "log": "/x" * 30}, {"name": "b", "log": None}], empty="none")
    wide = repr(rows)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    monkeypatch.setenv("COLUMNS", "200")
    assert repr(rows) == wide
    monkeypatch.setenv("COLUMNS", "40")
    assert repr(rows) == f"name  a\nlog   {'/x' * 30}\n\nname  b"

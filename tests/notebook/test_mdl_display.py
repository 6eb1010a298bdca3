"""notebook/mdl_display.py: MDL coloured, whole and escaped."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from conduit_nb.notebook.mdl_display import SchemaView, coloured, mdl_html, one_line
from conduit_nb.plain_text import plain
from conduit_nb.schemas import Pattern, Range, schema_of


@dataclass
class Item:
    sku: Annotated[str, Pattern('[A-Z]{3}/x"<b>')]
    quantity: Annotated[int, Range(ge=1, le=99)]


@dataclass
class Order:
    items: Annotated[list[Item], 'what // was "bought" <script>']
    status: Literal["new", "a // b", "<i>"]
    price: float = 9.5


def test_colours_change_no_character_of_it():
    mdl = schema_of(Order).mdl

    bare = html.unescape(re.sub(r"<[^>]+>", "", coloured(mdl)))

    assert bare == plain(mdl)


def test_nothing_of_it_is_obeyed():
    shown = mdl_html(schema_of(Order).mdl)

    assert set(re.findall(r"<(\w+)", shown)) == {"pre", "span"}


def test_types_fields_and_numbers_have_colours_of_the_editors_theme():
    shown = coloured("{\n  price?: float(>0) = 9.5 // in EUR\n}")

    assert 'property-color,#2f78c4)">price</span>' in shown
    assert 'keyword-color,#2f8132)">float</span>' in shown
    assert 'number-color,#2f8132)">9.5</span>' in shown
    assert 'italic"> // in EUR</span>' in shown


@pytest.mark.parametrize(
    ("mdl", "line"),
    [
        ("{}", "{}"),
        ("{\n  a: int\n  b: string\n}", "{a: int, b: string}"),
        ("{\n  a: int // said\n}", None),
        ("{\n  a: {\n    b: int\n  }\n}", None),
        (f"{{\n  {'a' * 100}: int\n}}", None),
    ],
)
def test_what_is_short_and_flat_goes_into_one_line(mdl: str, line: str | None):
    assert one_line(mdl) == line


def test_a_schema_shows_its_mdl():
    view = SchemaView(schema_of(Item))

    assert repr(view) == schema_of(Item).mdl

"""notebook/help.py: help is there, and it does not lie."""

from __future__ import annotations

import re

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook import block_cell, map_cell
from conduit_nb.notebook.cell import PROVIDED
from conduit_nb.notebook.help import TOPICS, help_text
from conduit_nb.notebook.magics import CELL_WORDS, LINE_WORDS
from conduit_nb.spelling import did_you_mean


def text_on(word: str | None) -> str:
    return help_text(word, provided=list(PROVIDED), default_model="some/model")


def test_there_is_help_on_every_word():
    assert set(TOPICS) == {*LINE_WORDS, *CELL_WORDS} - {"help"}
    for word in {*LINE_WORDS, *CELL_WORDS}:
        assert word in text_on(None)


@pytest.mark.parametrize("word", [None, "help", *TOPICS])
def test_help_fits_a_screen_and_has_no_gaps(word: str | None):
    text = text_on(word)

    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) < 60
    # What the command of an image may have in it is written so, and a variable.
    assert not re.search(r"\{(?!port\}|model\}|model_id\})[a-z_]+\}", text)


@pytest.mark.parametrize(
    ("word", "parser"), [("map", map_cell.make_parser()), ("block", block_cell.make_parser())]
)
def test_help_names_exactly_the_options_that_there_are(word: str, parser: map_cell.MagicParser):
    named = set(re.findall(r"(?<![\w-])--[a-z-]+", text_on(word)))

    assert named == set(parser.long_options)


def test_help_on_schemas_names_what_needs_no_import():
    assert all(name in text_on("schema") for name in PROVIDED)


def test_help_on_an_unknown_word_names_the_nearest():
    with pytest.raises(ArgumentError) as caught:
        text_on("maps")

    assert caught.value.hint == did_you_mean("map")

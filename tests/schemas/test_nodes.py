from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.automata import Automaton
from conduit_nb.schemas.nodes import OptionsNode, TextNode, code_range, rest_of_one
from conduit_nb.schemas.reader import JsonReader, Text


def opened(text: str) -> Text:
    reader = JsonReader()
    reader.feed(text)
    (part,) = reader.open_parts
    assert isinstance(part, Text)
    return part


@given(st.characters(exclude_categories=["Cs"]).filter(lambda char: ord(char) > 0x7F))
def test_the_first_bytes_of_a_character_bound_its_code(char: str):
    written = char.encode()
    for size in range(1, len(written)):
        low, high = code_range(written[:size])
        assert low <= ord(char) <= high
        for code in (low, high):
            assert chr(code).encode("utf-8", "surrogatepass")[:size] == written[:size]


@pytest.mark.parametrize(
    ("node", "text", "half", "rest"),
    [
        (TextNode(None, 3, 5), '"a', b"", '.."'),
        (TextNode(None, 0, 1), '"ab', b"", None),
        (TextNode(None, 0, None), '"a', "€".encode()[:2], '\u2080"'),
        (TextNode(Automaton("[à-ü]{2}"), 0, None), '"', "é".encode()[:1], 'àà"'),
        (TextNode(Automaton("a*"), 0, None), '"', "é".encode()[:1], None),
        (TextNode(Automaton("a\n"), 0, None), '"a\\', b"", 'n"'),
        (TextNode(Automaton("a\n"), 0, None), '"a\\u00', b"", '0a"'),
        (OptionsNode(["éa", "b"]), '"', "é".encode()[:1], 'éa"'),
        (OptionsNode(["red", "reddish"]), '"redd', b"", 'ish"'),
        (OptionsNode([True, None]), '"', b"", None),
    ],
)
def test_an_open_text_ends_as_its_node_allows(
    node: TextNode | OptionsNode, text: str, half: bytes, rest: str | None
):
    found = node.rest(opened(text), half)

    if half and isinstance(node, TextNode) and rest == '\u2080"':
        assert found is not None
        assert found[0].encode()[:2] == half
    else:
        assert found == rest
        assert found is None or len(found.encode()) <= node.most_bytes()


def test_a_begun_escape_becomes_the_next_character_of_the_option():
    assert rest_of_one(opened('"a\\'), ["a\fb", "xyz"], b"") == 'fb"'
    assert rest_of_one(opened('"a\\u000'), ["a\fb"], b"") == 'cb"'
    assert rest_of_one(opened('"a\\u000'), ["ab"], b"") is None


def test_a_fixed_whole_float_is_written_either_way():
    node = OptionsNode([2.0])
    reader = JsonReader()
    reader.feed("2.0 ")

    assert node.shortest == "2"
    assert reader.root is not None
    assert node.takes(reader.root)

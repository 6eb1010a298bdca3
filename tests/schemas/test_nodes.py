"""schemas/nodes.py: how a value that has begun can end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.automata import Automaton
from conduit_nb.schemas.nodes import (
    ArrayNode,
    ObjectNode,
    OptionsNode,
    TextNode,
    code_range,
    rest_of_one,
)
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
        assert found is None or len(found.encode()) <= node.max_bytes()


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


FLAG = OptionsNode([True, False])


def rest_of(node: ArrayNode | ObjectNode, text: str) -> str | None:
    reader = JsonReader()
    reader.feed(text)
    assert not reader.is_broken
    assert node.takes(reader.open_parts[0])
    return node.rest(reader.open_parts[0], b"")


def flags(min_items: int = 0, max_items: int | None = None) -> ArrayNode:
    node = ArrayNode(min_items, max_items)
    node.other = [FLAG]
    return node


def record(*required: str, other: bool = False, min_properties: int = 0) -> ObjectNode:
    node = ObjectNode(required, min_properties, None)
    node.properties.update({"a": [FLAG], "ab": [FLAG], "b": [FLAG]})
    node.other = [FLAG] if other else []
    return node


@pytest.mark.parametrize(
    ("node", "text", "rest"),
    [
        (flags(), "[", "]"),
        (flags(2), "[", "true,true]"),
        (flags(2), "[true", ",true]"),
        (flags(), "[true,", "true]"),
        (flags(0, 1), "[true,", None),
    ],
)
def test_a_list_is_filled_up_and_ended(node: ArrayNode, text: str, rest: str | None):
    assert rest_of(node, text) == rest


@pytest.mark.parametrize(
    ("node", "text", "rest"),
    [
        (record(), "{", "}"),
        (record("b"), "{", '"b":true}'),
        (record("b"), '{"a', '":true,"b":true}'),
        (record("b"), '{"a":true,', '"b":true}'),
        (record(), '{"a":true,', '"b":true}'),
        (record(), '{"ab":true,"', 'b":true}'),
        (record(), '{"c', None),
        (record(other=True), '{"c', '":true}'),
        (record(other=True), '{"x":true,"x', '1":true}'),
        (record(min_properties=2), '{"a":true', ',"ab":true}'),
        (record("b"), '{"a"', ':true,"b":true}'),
        (record("b"), '{"a":', 'true,"b":true}'),
    ],
)
def test_an_object_gets_the_keys_that_it_lacks(node: ObjectNode, text: str, rest: str | None):
    if text == '{"a":true':
        text += " "
    assert rest_of(node, text) == rest


def test_a_list_that_holds_something_else_is_not_taken():
    reader = JsonReader()
    reader.feed("[true,1,")

    assert not flags().takes(reader.open_parts[0])

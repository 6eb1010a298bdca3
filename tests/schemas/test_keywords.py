from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.containers import ObjectNode
from conduit_nb.schemas.keywords import to_nodes
from conduit_nb.schemas.nodes import NumberNode, OptionsNode, TextNode


def kinds(schema: Any) -> list[str]:
    return [type(node).__name__ for node in to_nodes(schema)[0]]


@pytest.mark.parametrize(
    ("schema", "nodes"),
    [
        ({"type": "string"}, [TextNode]),
        ({"type": ["integer", "null"]}, [NumberNode, OptionsNode]),
        ({"type": ["integer", "number"]}, [NumberNode]),
        ({"anyOf": [{"type": "string"}, {"anyOf": [{"const": 1}]}]}, [TextNode, OptionsNode]),
        ({"title": "a", "description": "b", "default": 1, "enum": [1]}, [OptionsNode]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, [TextNode]),
    ],
)
def test_alternatives_stand_side_by_side(schema: Any, nodes: list[type]):
    assert kinds(schema) == [node.__name__ for node in nodes]


def test_no_keyword_at_all_is_any_value():
    assert len(kinds({})) == len(kinds({"title": "a"})) == 6


def test_a_reference_to_the_whole_is_the_same_nodes_everywhere():
    (root,), made = to_nodes(
        {"type": "object", "properties": {"next": {"$ref": "#"}, "below": {"$ref": "#"}}}
    )

    assert isinstance(root, ObjectNode)
    assert root.properties["next"] is root.properties["below"]
    assert len([node for node in made if isinstance(node, ObjectNode)]) == 3  # root, #, any


def test_what_is_beside_a_reference_is_refused():
    with pytest.raises(SchemaError, match="minLength"):
        to_nodes({"$ref": "#", "minLength": 1})

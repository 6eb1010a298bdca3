"""The shortest way to a whole value: of a JSON Schema, and of a text that was cut anywhere in it.

    completer = Completer(schema.json_schema)
    completer.shortest                       # the shortest record of all
    completer.closing('{"name":"Ann')        # '","age":0}', or None where there is no way

What is written for what is missing is the shortest that the schema takes: empty texts and lists,
0, the shortest of some options. Keywords that are not known here are refused, so that what is said
to be whole is whole. Layer 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.containers import ArrayNode, ObjectNode
from conduit_nb.schemas.keywords import to_nodes
from conduit_nb.schemas.nodes import Node, Nodes, OptionsNode, fits, shortest_of
from conduit_nb.schemas.reader import Array, JsonReader, Object, Part


class Completer:
    """Ends texts that a JSON Schema describes. Immutable: may be used from any thread.

    Raises SchemaError where the schema has no value, or a keyword that is not known here.
    """

    def __init__(self, json_schema: Mapping[str, Any]) -> None:
        self._root, nodes = to_nodes(json_schema)
        while any(node.shorten() for node in nodes):
            pass
        shortest = shortest_of(self._root)
        if shortest is None:
            raise SchemaError("no value fits the JSON Schema")
        self.shortest = shortest
        self._level_bytes = max(node.most_bytes() for node in nodes)

    def most_bytes(self, reader: JsonReader) -> int:
        """Return a length that the closing of what was read does not exceed; costs nothing."""
        return (len(reader.open_parts) + 1) * self._level_bytes

    def closing(self, text: str) -> str | None:
        """Return the shortest text that makes a whole value of `text`; None where there is none."""
        reader = JsonReader()
        reader.feed(text)
        closing = self.closing_of(reader)
        return None if closing is None else closing.decode()

    def closing_of(self, reader: JsonReader, half: bytes = b"") -> bytes | None:
        """Return the same for what was read, and the bytes of a character that is not whole."""
        if reader.is_broken or (half and not reader.open_parts):
            return None
        if reader.root is None:
            return self.shortest.encode()
        spine = reader.open_parts or [reader.root]
        levels = self._levels(spine)
        if reader.root.end is not None:
            return b"" if levels[0] else None
        closings: dict[Node, str] = {}
        inner: Part | None = None
        for part, nodes in zip(reversed(spine), reversed(levels), strict=True):
            found: dict[Node, str] = {}
            for node in nodes:
                before = (
                    "" if inner is None else _shortest_among(closings, _inside(node, _last(part)))
                )
                rest = None if before is None else node.rest(part, half if inner is None else b"")
                if before is not None and rest is not None:
                    found[node] = before + rest
            closings, inner = found, part
        closing = min(closings.values(), key=len, default=None)
        if closing is None:
            return None
        return closing.encode()[len(half) :]

    def choices(self, reader: JsonReader) -> Iterator[tuple[str, Part]]:
        """Yield the whole values that are one of a few fixed ones, each with its JSON pointer."""
        if reader.is_broken or reader.root is None:
            return
        waiting: list[tuple[str, Part, Nodes]] = [("", reader.root, self._root)]
        while waiting:
            pointer, part, nodes = waiting.pop()
            inside = _values(part)
            for at, value in reversed(inside):
                below = [one for node in nodes for one in _inside(node, at)]
                waiting.append((f"{pointer}/{_escaped(str(at))}", value, below))
            is_choice = nodes and all(isinstance(node, OptionsNode) for node in nodes)
            if is_choice and part.end is not None and fits(nodes, part):
                yield pointer, part

    def _levels(self, spine: list[Part]) -> list[list[Node]]:
        """Return for each open value the nodes that it may be, from the outermost on."""
        levels: list[list[Node]] = []
        candidates: Nodes = self._root
        for depth, part in enumerate(spine):
            levels.append([node for node in candidates if node.takes(part)])
            if depth + 1 < len(spine):
                below = [one for node in levels[-1] for one in _inside(node, _last(part))]
                candidates = list(dict.fromkeys(below))
        return levels


def shortest_record(json_schema: Mapping[str, Any]) -> str:
    """Return the shortest value that fits a JSON Schema, as compact JSON. Raises SchemaError."""
    return Completer(json_schema).shortest


def _values(part: Part) -> list[tuple[str | int, Part]]:
    """Return what is in `part`, each with its key or its index."""
    match part:
        case Array(items=items):
            return list(enumerate(items))
        case Object(entries=entries):
            return list(entries.items())
        case _:
            return []


def _inside(node: Node, at: str | int) -> Nodes:
    """Return what may stand in a `node` at a key or an index."""
    match node, at:
        case ArrayNode(), int():
            return node.inside(at)
        case ObjectNode(), str():
            return node.inside(at)
        case _:
            return ()


def _last(part: Part) -> str | int:
    """Return where the last value in `part` stands; -1 where there is none."""
    match part:
        case Array(items=items):
            return len(items) - 1
        case Object(key=key) if key is not None:
            return key.text
        case _:
            return -1


def _escaped(key: str) -> str:
    """Return a key as a step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _shortest_among(closings: Mapping[Node, str], nodes: Nodes) -> str | None:
    return min((closings[node] for node in nodes if node in closings), key=len, default=None)

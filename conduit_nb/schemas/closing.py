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
from dataclasses import dataclass
from functools import cached_property
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

    def __init__(self, json_schema: Mapping[str, Any], *, strict: bool = True) -> None:
        """Make what ends texts; `strict` looks first for an end of what grammars write.

        They write numbers within bounds in one way only, which tells members of a union apart.
        """
        self._json_schema = json_schema
        self._is_strict = strict
        try:
            self._root, nodes = to_nodes(json_schema, strict=strict)
        except RecursionError as err:
            raise SchemaError("the JSON Schema nests too deep") from err
        while any(node.shorten() for node in nodes):
            pass
        shortest = shortest_of(self._root)
        if shortest is None:
            raise SchemaError(
                "no value fits the JSON Schema",
                hint="Make the property that refers back optional, or allow null there.",
            )
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
        closing = self._found(reader, half)
        if closing is None and self._is_strict and not reader.is_broken:
            return self._loose._found(reader, half)
        return closing

    @cached_property
    def _loose(self) -> Completer:
        return Completer(self._json_schema, strict=False)

    def _found(self, reader: JsonReader, half: bytes) -> bytes | None:
        if reader.is_broken or (half and not reader.open_parts):
            return None
        if reader.root is None:
            return self.shortest.encode()
        if reader.root.end is not None:
            return b"" if fits(self._root, reader.root) else None
        *around, innermost = reader.open_parts
        candidates: Nodes = self._root
        levels: list[list[_Level]] = []
        for part in around:
            found, candidates = self._around(part, candidates)
            levels.append(found)
        closings = {
            node: rest
            for node in candidates
            if node.takes(innermost) and (rest := node.rest(innermost, half)) is not None
        }
        for found in reversed(levels):
            closings = {
                level.node: inner + level.rest
                for level in found
                if (inner := _shortest_among(closings, level.inside)) is not None
            }
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

    def _around(self, part: Part, candidates: Nodes) -> tuple[list[_Level], Nodes]:
        """Return what `part` may be, and what the value may be that is open in it.

        Both stay the same, and are kept, as long as that value is open.
        """
        last = _last(part)
        kept: tuple[str | int, list[_Level], Nodes] | None = part.notes.get(self)
        if kept is None or kept[0] != last:
            levels = [
                _Level(node=node, rest=rest, inside=_inside(node, last))
                for node in candidates
                if node.takes(part) and (rest := node.rest(part, b"")) is not None
            ]
            below = dict.fromkeys(one for level in levels for one in level.inside)
            kept = part.notes[self] = (last, levels, tuple(below))
        return kept[1], kept[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """What an open list or object may be: how it ends, and what the value in it may be."""

    node: Node
    rest: str
    inside: Nodes


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

"""Complete JSON that was cut off anywhere, with the shortest text that its schema allows.

    completer = Completer(schema.json_schema)
    completer.shortest                       # the shortest record of all
    completer.closing('{"name":"Ann')        # '","age":0}', or None where it cannot be completed

Missing values are the shortest that the schema allows: empty texts and lists, 0, the shortest
option. Unknown keywords raise SchemaError: a completed value is certain to fit the schema.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, cast

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.automata import Automaton, TooLargeError
from conduit_nb.schemas.formats import FORMATS
from conduit_nb.schemas.nodes import (
    ArrayNode,
    Node,
    Nodes,
    NumberNode,
    ObjectNode,
    OptionsNode,
    TextNode,
    fits,
    shortest_of,
)
from conduit_nb.schemas.numbers import Bounds
from conduit_nb.schemas.patterns import anchored, common_regex
from conduit_nb.schemas.reader import Array, JsonReader, Object, Part

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
ANNOTATIONS = {
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "x-guidance",
}
KEYWORDS = {
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
}
MAX_MIN_COUNT = 100_000
"""The largest minLength, minItems or minProperties that is completed."""


class Completer:
    """Completes partial JSON of one JSON Schema. Immutable and thread-safe.

    Raises SchemaError where the schema has no value, or an unknown keyword.
    """

    def __init__(self, json_schema: Mapping[str, Any], *, strict: bool = True) -> None:
        """Compile the schema; `strict` tries first what a grammar would write.

        Grammars write numbers within bounds in one way only, which can decide between the members
        of a union.
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
        self._level_bytes = max(node.max_bytes() for node in nodes)

    def most_bytes(self, reader: JsonReader) -> int:
        """Return an upper bound for the length of the closing; fast."""
        return (len(reader.open_parts) + 1) * self._level_bytes

    def closing(self, text: str) -> str | None:
        """Return the shortest text that completes `text`, None where it cannot be completed."""
        reader = JsonReader()
        reader.feed(text)
        closing = self.closing_of(reader)
        return None if closing is None else closing.decode()

    def closing_of(self, reader: JsonReader, half: bytes = b"") -> bytes | None:
        """Return the closing of what was read, followed by `half`: the bytes of a cut character."""
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
        """Yield the complete values of enums and booleans, each with its JSON pointer."""
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
        """Return the candidates for an open `part`, and those for the open value inside it.

        Both are cached until that inner value ends.
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
    """A candidate for an open list or object: its closing, and candidates for the inner value."""

    node: Node
    rest: str
    inside: Nodes


def shortest_record(json_schema: Mapping[str, Any]) -> str:
    """Return the shortest value of a JSON Schema as compact JSON. Raises SchemaError."""
    return Completer(json_schema).shortest


def _values(part: Part) -> list[tuple[str | int, Part]]:
    """Return the values in `part`, each with its key or index."""
    match part:
        case Array(items=items):
            return list(enumerate(items))
        case Object(entries=entries):
            return list(entries.items())
        case _:
            return []


def _inside(node: Node, at: str | int) -> Nodes:
    """Return the nodes that `node` allows at a key or an index."""
    match node, at:
        case ArrayNode(), int():
            return node.inside(at)
        case ObjectNode(), str():
            return node.inside(at)
        case _:
            return ()


def _last(part: Part) -> str | int:
    """Return the key or index of the last value in `part`, -1 where there is none."""
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


def to_nodes(
    json_schema: Mapping[str, Any], *, strict: bool = False
) -> tuple[list[Node], list[Node]]:
    """Return the nodes that a value may match, and all nodes, inner ones included.

    `strict` accepts numbers only as grammars write them. Raises SchemaError for an unknown keyword.
    """
    compiler = _Compiler(json_schema, strict=strict)
    return compiler.compiled(json_schema), compiler.made


class _Compiler:
    """Builds the nodes of a schema; those of each reference once."""

    def __init__(self, root: Mapping[str, Any], *, strict: bool) -> None:
        self.made: list[Node] = []
        self._root = root
        self._strict = strict
        self._references: dict[str, list[Node]] = {}
        self._anything: list[Node] | None = None
        self._unfilled: deque[Callable[[], None]] = deque()

    def compiled(self, schema: object) -> list[Node]:
        """Return the nodes that a value of `schema` may match, with all inner nodes built."""
        nodes = self.nodes(schema)
        while self._unfilled:  # deferred: a reference may be recursive
            self._unfilled.popleft()()
        return nodes

    def nodes(self, schema: object) -> list[Node]:
        """Return the nodes that a value of `schema` may match, alternatives flattened."""
        match schema:
            case True:
                return self._any()
            case False:
                return []
            case Mapping():
                return self._described(cast("Mapping[str, Any]", schema))
            case _:
                raise _unknown(f"{schema!r:.40}")

    def _described(self, schema: Mapping[str, Any]) -> list[Node]:
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema["$ref"], schema)
        for name in ("anyOf", "oneOf"):  # the grammar excludes the others of a oneOf
            if isinstance(schema.get(name), list):
                _refuse_others(schema, {name})
                found = [node for member in schema[name] for node in self.nodes(member)]
                return list(dict.fromkeys(found))
        if isinstance(schema.get("enum"), list):
            _refuse_others(schema, {"enum", "type"})
            return self._options(schema["enum"])
        if "const" in schema:
            _refuse_others(schema, {"const", "type"})
            return self._options([schema["const"]])
        return self._typed(schema)

    def _referred(self, reference: str, schema: Mapping[str, Any]) -> list[Node]:
        _refuse_others(schema, {"$ref"})
        if reference in self._references:
            return self._references[reference]
        target: Any = self._root
        path = reference.removeprefix("#")
        if reference == path or (path and not path.startswith("/")):
            raise _unknown(f"$ref {reference!r:.80}")
        for step in path.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or key not in target:
                raise _unknown(f"$ref {reference!r:.80}")
            target = cast("Mapping[str, Any]", target)[key]
        kept = self._references[reference] = []
        kept.extend(self.nodes(target))
        return kept

    def _typed(self, schema: Mapping[str, Any]) -> list[Node]:
        given: object = schema.get("type", list(TYPES))
        kinds = cast("list[object]", given) if isinstance(given, list) else [given]
        if any(kind not in TYPES for kind in kinds):
            raise _unknown(f"type {given!r:.40}")
        names = [cast("str", kind) for kind in kinds]
        known = {name for kind in names for name in KEYWORDS.get(kind, ())}
        _refuse_others(schema, {"type", *known})
        if known.isdisjoint(schema) and "type" not in schema:
            return self._any()
        return [self._one(kind, schema) for kind in names if not _is_covered(kind, names)]

    def _one(self, kind: str, schema: Mapping[str, Any]) -> Node:
        match kind:
            case "null":
                return self._made(OptionsNode([None]))
            case "boolean":
                return self._made(OptionsNode([False, True]))
            case "integer" | "number":
                whole = kind == "integer"
                return self._made(NumberNode(_bounds(schema), whole=whole, strict=self._strict))
            case "string":
                min_length, max_length = _counts(schema, "minLength", "maxLength")
                return self._made(TextNode(_automaton(schema), min_length, max_length))
            case "array":
                return self._array(schema)
            case _:
                return self._object(schema)

    def _array(self, schema: Mapping[str, Any]) -> Node:
        node = ArrayNode(*_counts(schema, "minItems", "maxItems"))

        def fill() -> None:
            node.first.extend(self.nodes(item) for item in schema.get("prefixItems", ()))
            node.other = self.nodes(schema.get("items", True))

        self._unfilled.append(fill)
        return self._made(node)

    def _object(self, schema: Mapping[str, Any]) -> Node:
        properties: Mapping[str, object] = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        ordered = [key for key in properties if key in required]
        ordered += [key for key in required if key not in properties]
        node = ObjectNode(ordered, *_counts(schema, "minProperties", "maxProperties"))

        def fill() -> None:
            for key, value in properties.items():
                node.properties[key] = self.nodes(value)
            node.other = self.nodes(schema.get("additionalProperties", True))

        self._unfilled.append(fill)
        return self._made(node)

    def _options(self, values: list[Any]) -> list[Node]:
        if not values or any(isinstance(value, list | dict) for value in values):
            raise _unknown("enum of lists or objects")
        return [self._made(OptionsNode(values))]

    def _any(self) -> list[Node]:
        if self._anything is None:
            self._anything = []
            kinds = [kind for kind in TYPES if kind != "integer"]
            self._anything.extend(self._one(kind, {}) for kind in kinds)
        return self._anything

    def _made(self, node: Node) -> Node:
        self.made.append(node)
        return node


def _is_covered(kind: str, kinds: list[str]) -> bool:
    return kind == "integer" and "number" in kinds


def _automaton(schema: Mapping[str, Any]) -> Automaton | None:
    pattern, form = schema.get("pattern"), schema.get("format")
    if pattern is None and form is None:
        return None
    if form is not None and form not in FORMATS:
        raise _unknown(f"format {form!r:.40}")
    if not isinstance(pattern, str | None):
        raise _unknown(f"pattern {pattern!r:.40}")
    try:
        if pattern is None:
            return Automaton(FORMATS[cast("str", form)])
        if form is not None and pattern != anchored(FORMATS[form]):
            raise _unknown("pattern beside format")
        return Automaton(
            common_regex(pattern),
            is_open_before=not pattern.startswith("^"),
            is_open_after=not _ends_with_anchor(pattern),
        )
    except TooLargeError as err:
        raise _unknown("a pattern that repeats so much") from err


def _ends_with_anchor(pattern: str) -> bool:
    before = pattern.removesuffix("$")
    return before != pattern and (len(before) - len(before.rstrip("\\"))) % 2 == 0


def _bounds(schema: Mapping[str, Any]) -> Bounds:
    low, is_low_open = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, is_high_open = _bound(schema, "maximum", "exclusiveMaximum", min)
    return Bounds(low=low, high=high, is_low_open=is_low_open, is_high_open=is_high_open)


def _bound(
    schema: Mapping[str, Any], closed_name: str, open_name: str, narrower: Any
) -> tuple[Decimal | None, bool]:
    given: list[tuple[Decimal, bool]] = []
    for name in (closed_name, open_name):
        value: object = schema.get(name)
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise _unknown(f"{name} {value!r:.40}")
        given.append((Decimal(repr(value)), name == open_name))
    if not given:
        return None, False
    bound = narrower(value for value, _ in given)
    return bound, any(is_open for value, is_open in given if value == bound)


def _counts(schema: Mapping[str, Any], min_name: str, max_name: str) -> tuple[int, int | None]:
    low, high = schema.get(min_name, 0), schema.get(max_name)
    for name, value in ((min_name, low), (max_name, high)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise _unknown(f"{name} {value!r:.40}")
    if low > MAX_MIN_COUNT:
        raise _unknown(f"{min_name} {low}")
    return low, high


def _refuse_others(schema: Mapping[str, Any], known: set[str]) -> None:
    for name in schema:
        if name not in known and name not in ANNOTATIONS:
            raise _unknown(f"{name!r:.40}")


def _unknown(what: str) -> SchemaError:
    return SchemaError(
        f"it is not known how to end a value with {what}",
        hint="Say it in another way, or give the answer enough tokens.",
    )

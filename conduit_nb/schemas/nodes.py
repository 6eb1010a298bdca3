"""Nodes for the values that a JSON Schema allows; each can complete a partial value.

    node.shortest                # the shortest value, as compact JSON
    node.rest(part, b"")         # the text that completes a partial value

Alternatives (`anyOf`, `$ref`, several types) are not nodes: they are flattened into the list of
nodes that a value may match.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from conduit_nb.schemas.automata import Automaton, States
from conduit_nb.schemas.codec import json_text
from conduit_nb.schemas.numbers import Bounds, is_number, rest_of_number, shortest_number
from conduit_nb.schemas.reader import Array, Object, Part, Text, Word

MAX_HEIGHT = 200
"""Deeper nesting is not accepted: JSON readers reject it."""

NUMBER_BYTES = 60
FILLER = "."
ESCAPES = {
    "n": "\n",
    "t": "\t",
    '"': '"',
    "\\": "\\",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "/": "/",
}
UNITS = ("000a", "0009", "001f", "007f", "0020", "0041", "000b", "0000")


class Node(ABC):
    """One kind of value. `shortest` is None while no value is known."""

    shortest: str | None = None

    @abstractmethod
    def takes(self, part: Part) -> bool:
        """Return whether `part` is, or may become, such a value. Open inner values are ignored."""

    @abstractmethod
    def rest(self, part: Part, half: bytes) -> str | None:
        """Return the text that completes the open `part`, None where there is none.

        An open inner value is not completed here. `half` are the first bytes of a cut UTF-8
        character: the text starts with that character.
        """

    @abstractmethod
    def max_bytes(self) -> int:
        """Return an upper bound for the length of what `rest` returns."""

    def shorten(self) -> bool:
        """Update `shortest` from the inner nodes; return whether it became shorter."""
        return False


Nodes: TypeAlias = Sequence[Node]


def fits(nodes: Iterable[Node], part: Part) -> bool:
    """Return whether a complete `part` matches one of the nodes."""
    if isinstance(part, Array | Object) and part.height > MAX_HEIGHT:
        return False
    return any(node.takes(part) for node in nodes)


def shortest_of(nodes: Iterable[Node]) -> str | None:
    """Return the shortest value of the nodes, None where none is known."""
    texts = [node.shortest for node in nodes if node.shortest is not None]
    return min(texts, key=len, default=None)


class OptionsNode(Node):
    """One of some fixed values: an enum, a const, a boolean, null."""

    def __init__(self, values: Iterable[object]) -> None:
        values = list(values)
        self._texts = [value for value in values if isinstance(value, str)]
        self._words = [_word(value) for value in values if not isinstance(value, str)]
        # Grammars write a fixed 2.0 as 2.
        whole = [value for value in values if isinstance(value, float) and value.is_integer()]
        self._words += [_word(int(value)) for value in whole]
        options = [*self._words, *(quoted(text) for text in self._texts)]
        self.shortest = min(options, key=len)
        self._max_bytes = max(len(option.encode()) for option in options)

    def takes(self, part: Part) -> bool:
        match part:
            case Text(end=None):
                return any(text.startswith(part.text) for text in self._texts)
            case Text():
                return part.text in self._texts
            case Word(end=None, raw=raw):
                return any(word.startswith(raw) for word in self._words)
            case Word(raw=raw):
                return raw in self._words
            case _:
                return False

    def rest(self, part: Part, half: bytes) -> str | None:
        match part:
            case Text():
                return rest_of_one(part, self._texts, half)
            case Word(raw=raw) if not half:
                found = [word[len(raw) :] for word in self._words if word.startswith(raw)]
                return min(found, key=len, default=None)
            case _:
                return None

    def max_bytes(self) -> int:
        return self._max_bytes


class NumberNode(Node):
    """A number or integer within bounds; `strict` accepts only what grammars write."""

    def __init__(self, bounds: Bounds, *, whole: bool, strict: bool) -> None:
        self._bounds = bounds
        self._whole = whole
        self._strict = strict
        self.shortest = shortest_number(bounds, whole=whole)

    def takes(self, part: Part) -> bool:
        match part:
            case Word(end=None, raw=raw):
                return raw[0] not in "tfn"
            case Word(raw=raw):
                return is_number(raw, self._bounds, whole=self._whole, strict=self._strict)
            case _:
                return False

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Word) or half:
            return None
        return rest_of_number(part.raw, self._bounds, whole=self._whole, strict=self._strict)

    def max_bytes(self) -> int:
        return NUMBER_BYTES


class TextNode(Node):
    """A string within length bounds that `automaton` matches; None matches any."""

    def __init__(
        self, automaton: Automaton | None, min_length: int, max_length: int | None
    ) -> None:
        self._automaton = automaton
        self._min_length = min_length
        self._max_length = max_length
        self.shortest = self.rest(Text(0), b"")
        if self.shortest is not None:
            self.shortest = f'"{self.shortest}'

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Text) or (
            self._max_length is not None and part.length > self._max_length
        ):
            return False
        if part.end is not None and part.length < self._min_length:
            return False
        if self._automaton is None:
            return True
        states = self._states(part, self._automaton)
        return bool(states) if part.end is None else self._automaton.matches(states)

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Text):
            return None
        states = self._states(part, self._automaton) if self._automaton else frozenset[int]()
        found: list[str] = []
        for lead, char in self._leads(part, half, states):
            body = self._body(part.length, char, states)
            if body is not None:
                found.append(lead + quoted(body)[1:])
        return min(found, key=len, default=None)

    def max_bytes(self) -> int:
        longest = self._automaton.longest if self._automaton else 0
        return 6 * max(longest, self._min_length) + 16

    def _leads(self, part: Text, half: bytes, states: States) -> list[tuple[str, str]]:
        """Return how a begun escape or character may continue, each with its character."""
        if part.escape:
            return escapes_of(part.escape)
        if not half:
            return [("", "")]
        low, high = code_range(half)
        if self._automaton is None:
            return [(chr(low), chr(low))]
        return [(char, char) for char in self._automaton.choices(states, low, high)]

    def _body(self, length: int, char: str, states: States) -> str | None:
        min_length = max(self._min_length - length - len(char), 0)
        max_length = None if self._max_length is None else self._max_length - length - len(char)
        if max_length is not None and max_length < 0:
            return None
        if self._automaton is None:
            return FILLER * min_length
        return self._automaton.completion(
            self._automaton.advance(states, char), min_length, max_length
        )

    def _states(self, part: Text, automaton: Automaton) -> States:
        """Return the states of the automaton after `part`; only the new text is read."""
        read, states = part.notes.get(self, (0, automaton.start))
        if read < part.length:
            states = automaton.advance(states, part.text[read:])
            part.notes[self] = (part.length, states)
        return states


def rest_of_one(part: Text, options: Iterable[str], half: bytes) -> str | None:
    """Return the shortest text, closing quote included, that completes a string to an option.

    A begun escape is preferably completed to a character that must be escaped: grammars escape no
    others.
    """
    found = [
        (bool(part.escape) and not _must_be_escaped(left[:1]), rest)
        for option in options
        if option.startswith(part.text)
        for left in (option[part.length :],)
        if (rest := _rest_of_option(left, part.escape, half)) is not None
    ]
    return min(found, key=lambda one: (one[0], len(one[1])), default=(True, None))[1]


def _must_be_escaped(char: str) -> bool:
    return quoted(char)[1:2] == "\\"


def _rest_of_option(left: str, escape: str, half: bytes) -> str | None:
    """Return the rest of `left` after a begun escape or the first bytes of a character."""
    if not escape:
        return quoted(left)[1:] if left.encode().startswith(half) else None
    unit = left[:1].encode("utf-16-be").hex()
    units = [unit, unit.upper()] if len(unit) == 4 else []
    short = [f"\\{name}" for name, char in ESCAPES.items() if char == left[:1]]
    for form in (*short, *(f"\\u{one}" for one in units)):
        if form.startswith(escape):
            return form[len(escape) :] + quoted(left[1:])[1:]
    return None


def code_range(half: bytes) -> tuple[int, int]:
    """Return the lowest and the highest code point whose UTF-8 starts with the bytes."""
    first = half[0]
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    codes: list[int] = []
    for filler in (0x80, 0xBF):
        code = first & (0xFF >> (size + 1))
        for byte in (*half[1:], *[filler] * (size - len(half))):
            code = code << 6 | byte & 0x3F
        codes.append(code)
    low, high = max(codes[0], (0, 0, 0x80, 0x800, 0x10000)[size]), min(codes[1], 0x10FFFF)
    return (0xE000 if 0xD800 <= low <= 0xDFFF else low), high


def quoted(text: str) -> str:
    """Return a string as JSON, with quotes."""
    written = json_text(text)
    assert written is not None
    return written


def _word(value: object) -> str:
    word = json_text(value)
    assert word is not None
    return word


def escapes_of(begun: str) -> list[tuple[str, str]]:
    """Return how a begun escape or surrogate pair may end, each with the resulting character."""
    if len(begun) >= 6:
        low = "\\udc00"
        rest = low[len(begun) - 6 :] if low.startswith(begun[6:].lower()) else None
        code = 0x10000 + (int(begun[2:6], 16) - 0xD800 << 10)
        return [] if rest is None else [(rest, chr(code))]
    if begun == "\\":
        return list(ESCAPES.items())
    digits = begun[2:]
    units = (*UNITS, digits + "0000"[len(digits) :])
    return [
        (unit[len(digits) :], chr(int(unit, 16)))
        for unit in dict.fromkeys(units)
        if unit.startswith(digits.lower()) and not 0xD800 <= int(unit, 16) <= 0xDFFF
    ]


class ArrayNode(Node):
    """A list within bounds; `first` are the nodes of its first items, `other` those of the rest."""

    def __init__(self, min_items: int, max_items: int | None) -> None:
        self.first: list[Nodes] = []
        self.other: Nodes = ()
        self._min_items = min_items
        self._max_items = max_items

    def inside(self, index: int) -> Nodes:
        """Return the nodes of the item at `index`."""
        return self.first[index] if index < len(self.first) else self.other

    def shorten(self) -> bool:
        shortest = self._closed(0, is_begun=True)
        return _is_shorter(self, None if shortest is None else f"[{shortest}")

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Array) or (
            self._max_items is not None and len(part.items) > self._max_items
        ):
            return False
        if part.end is not None and len(part.items) < self._min_items:
            return False
        known: int = part.notes.get(self, 0)
        while known < len(part.items) and part.items[known].end is not None:
            if not fits(self.inside(known), part.items[known]):
                return False
            known += 1
        part.notes[self] = known
        return True

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Array) or half:
            return None
        count = len(part.items)
        if part.stage != "comma":
            return self._closed(count, is_begun=part.stage == "begun")
        item = shortest_of(self.inside(count))
        after = self._closed(count + 1, is_begun=False)
        if item is None or after is None or count == self._max_items:
            return None
        return item + after

    def max_bytes(self) -> int:
        item = _longest([shortest_of(nodes) for nodes in (*self.first, self.other)])
        return (self._min_items + 1) * (item + 1) + 1

    def _closed(self, count: int, *, is_begun: bool) -> str | None:
        missing = [shortest_of(self.inside(index)) for index in range(count, self._min_items)]
        if None in missing:
            return None
        joined = ",".join(text for text in missing if text is not None)
        return f"{'' if is_begun or not joined else ','}{joined}]"


class ObjectNode(Node):
    """An object; `properties` are the nodes by key, in order, `other` those of any other key.

    A duplicate key counts twice, as in grammars.
    """

    def __init__(
        self, required: Sequence[str], min_properties: int, max_properties: int | None
    ) -> None:
        self.properties: dict[str, Nodes] = {}
        self.other: Nodes = ()
        self._required = tuple(required)
        self._min_properties = min_properties
        self._max_properties = max_properties

    def inside(self, key: str) -> Nodes:
        """Return the nodes of the value at `key`."""
        return self.properties.get(key, self.other)

    def shorten(self) -> bool:
        rest = self._closed((), is_begun=True)
        return _is_shorter(self, None if rest is None else f"{{{rest}")

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Object):
            return False
        keys = part.entries.keys()
        count = len(keys) + len(part.repeats)
        if self._max_properties is not None and count > self._max_properties:
            return False
        if part.end is not None and (
            count < self._min_properties or any(key not in keys for key in self._required)
        ):
            return False
        known: int = part.notes.get(self, 0)
        for key, value in list(part.entries.items())[known:] if known < len(keys) else ():
            nodes = self.inside(key)
            if not nodes or (value.end is not None and not fits(nodes, value)):
                return False
            known += value.end is not None
        part.notes[self] = known
        return not part.repeats or self._takes_repeats(part)

    def _takes_repeats(self, part: Object) -> bool:
        """Return whether the values of duplicate keys fit; JSON readers may use any of them."""
        known: int = part.notes.get((self, "repeats"), 0)
        for key, value in part.repeats[known:]:
            if value.end is not None and not fits(self.inside(key), value):
                return False
            known += value.end is not None
        part.notes[self, "repeats"] = known
        return True

    def rest(self, part: Part, half: bytes) -> str | None:
        if not isinstance(part, Object):
            return None
        keys = (*part.entries, *(key for key, _ in part.repeats))
        match part.stage:
            case "begun" | "after" | "inside":
                return self._closed(keys, is_begun=part.stage == "begun") if not half else None
            case "colon" | "value":
                assert part.key is not None
                colon = ":" if part.stage == "colon" else ""
                return self._with_value(colon, part.key.text, keys)
            case "key":
                assert part.key is not None
                found = [
                    self._with_value(f"{rest}:", name, keys)
                    for name, rest in self._keys(part.key, keys, half)
                ]
            case "comma":
                required = [key for key in self._required if key not in keys]
                names = required[:1] or self._names_left(keys) or [_new_key("", keys)]
                found = [self._with_value(f"{quoted(name)}:", name, keys) for name in names]
        return min((text for text in found if text is not None), key=len, default=None)

    def max_bytes(self) -> int:
        entries = {key: shortest_of(nodes) for key, nodes in self.properties.items()}
        needed = sum(
            len(quoted(key).encode()) + 2 + _longest([entries.get(key)]) for key in self._required
        )
        one_more = max(
            (len(quoted(key).encode()) + 2 + _longest([text]) for key, text in entries.items()),
            default=0,
        )
        other = 24 + _longest([shortest_of(self.other)])
        return needed + one_more + (self._min_properties + 1) * other + 2

    def _with_value(self, before: str, key: str, keys: tuple[str, ...]) -> str | None:
        """Return `before`, the value of `key`, and the rest of the object, or None."""
        value = shortest_of(self.inside(key))
        rest = self._closed((*keys, key), is_begun=False)
        if (
            value is None
            or rest is None
            or (self._max_properties is not None and len(keys) >= self._max_properties)
        ):
            return None
        return f"{before}{value}{rest}"

    def _keys(self, key: Text, keys: tuple[str, ...], half: bytes) -> list[tuple[str, str]]:
        """Return the keys that the open key may become, each with the text that completes it."""
        found: list[tuple[str, str]] = []
        for names in (self._next_names(keys), self._names_left(keys)):
            rests = [(name, rest_of_one(key, [name], half)) for name in names]
            found = found or [(name, rest) for name, rest in rests if rest is not None]
        if not self.other:
            return found
        leads = escapes_of(key.escape) if key.escape else [("", "")]
        if half:
            leads = [(char, char) for char in (chr(code_range(half)[0]),)]
        for lead, char in leads:
            begun = key.text + char
            name = _new_key(begun, (*keys, *self.properties))
            found.append((name, lead + quoted(name[len(begun) :])[1:]))
        return found

    def _names_left(self, keys: tuple[str, ...]) -> list[str]:
        """Return the properties that may follow: those after the last one, else any missing one."""
        names = list(self.properties)
        last = max((names.index(key) for key in keys if key in self.properties), default=-1)
        return names[last + 1 :] or [name for name in names if name not in keys]

    def _next_names(self, keys: tuple[str, ...]) -> list[str]:
        """Return the properties that may come next in schema order, up to a required one."""
        names: list[str] = []
        for name in self._names_left(keys):
            names.append(name)
            if name in self._required and name not in keys:
                break
        return names

    def _closed(self, keys: Sequence[str], *, is_begun: bool) -> str | None:
        """Return the missing entries and the closing brace."""
        there = dict.fromkeys(keys)
        entries: list[str] = []
        missing = [key for key in self._required if key not in there]
        # Readers count each key once, grammars each entry.
        max_properties = math.inf if self._max_properties is None else self._max_properties
        while missing or (
            len(there) < self._min_properties and len(keys) + len(entries) < max_properties
        ):
            optional = [key for key in self._names_left(tuple(there)) if key not in there]
            key = missing.pop(0) if missing else (optional or [_new_key("", there)])[0]
            value = shortest_of(self.inside(key))
            if value is None:
                return None
            there[key] = None
            entries.append(f"{quoted(key)}:{value}")
        joined = ",".join(entries)
        return f"{'' if is_begun or not joined else ','}{joined}}}"


def _new_key(begun: str, keys: Iterable[str]) -> str:
    """Return the shortest key that starts with `begun` and is not among `keys`."""
    taken = set(keys)
    name, number = begun, 0
    while name in taken:
        number += 1
        name = f"{begun}{number}"
    return name


def _is_shorter(node: Node, text: str | None) -> bool:
    if text is None or (node.shortest is not None and len(text) >= len(node.shortest)):
        return False
    node.shortest = text
    return True


def _longest(texts: Iterable[str | None]) -> int:
    return max((len(text.encode()) for text in texts if text is not None), default=0)

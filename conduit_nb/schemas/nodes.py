"""What a JSON Schema allows, as small nodes that know how a value that has begun can end.

    node.shortest                # the shortest value, as compact JSON
    node.rest(part, b"")         # what makes a whole value of one that is open

Alternatives (`anyOf`, `$ref`, several types) are no nodes: they are flattened into the sets of
nodes that a value may be. Layer 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from conduit_nb.schemas.automata import Automaton, States
from conduit_nb.schemas.codec import json_text
from conduit_nb.schemas.numbers import Bounds, is_number, rest_of_number, shortest_number
from conduit_nb.schemas.reader import Array, Object, Part, Text, Word

MAX_HEIGHT = 200
"""What nests deeper is not looked at: JSON readers do not take it."""

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
    """One kind of value. `shortest` is None until it is known that there is one."""

    shortest: str | None = None

    @abstractmethod
    def takes(self, part: Part) -> bool:
        """Say whether `part` may be (or become) such a value, by what of it is whole."""

    @abstractmethod
    def rest(self, part: Part, half: bytes) -> str | None:
        """Return what ends the open `part`, the value open in it not counted; None for nothing.

        The text begins with the character that the bytes in `half` begin.
        """

    @abstractmethod
    def most_bytes(self) -> int:
        """Return how long what `rest` returns can be."""

    def shorten(self) -> bool:
        """Look for a shorter value by what is known of the nodes inside; say if there is one."""
        return False


Nodes: TypeAlias = Sequence[Node]


def fits(nodes: Iterable[Node], part: Part) -> bool:
    """Say whether `part`, which is whole, is a value of one of the nodes."""
    if isinstance(part, Array | Object) and part.height > MAX_HEIGHT:
        return False
    return any(node.takes(part) for node in nodes)


def shortest_of(nodes: Iterable[Node]) -> str | None:
    """Return the shortest value that one of the nodes has."""
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
        self._most = max(len(option.encode()) for option in options)

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

    def most_bytes(self) -> int:
        return self._most


class NumberNode(Node):
    """A number, or a whole one, within bounds; `strict` takes only what grammars write."""

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

    def most_bytes(self) -> int:
        return NUMBER_BYTES


class TextNode(Node):
    """A string of so many characters that `automaton` matches; None lets it be any."""

    def __init__(self, automaton: Automaton | None, least: int, most: int | None) -> None:
        self._automaton = automaton
        self._least = least
        self._most = most
        self.shortest = self.rest(Text(0), b"")
        if self.shortest is not None:
            self.shortest = f'"{self.shortest}'

    def takes(self, part: Part) -> bool:
        if not isinstance(part, Text) or (self._most is not None and part.length > self._most):
            return False
        if part.end is not None and part.length < self._least:
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

    def most_bytes(self) -> int:
        longest = self._automaton.longest if self._automaton else 0
        return 6 * max(longest, self._least) + 16

    def _leads(self, part: Text, half: bytes, states: States) -> list[tuple[str, str]]:
        """Return what the character that is open may become: how it goes on, and which it is."""
        if part.escape:
            return escapes_of(part.escape)
        if not half:
            return [("", "")]
        low, high = code_range(half)
        if self._automaton is None:
            return [(chr(low), chr(low))]
        return [(char, char) for char in self._automaton.choices(states, low, high)]

    def _body(self, length: int, char: str, states: States) -> str | None:
        least = max(self._least - length - len(char), 0)
        most = None if self._most is None else self._most - length - len(char)
        if most is not None and most < 0:
            return None
        if self._automaton is None:
            return FILLER * least
        return self._automaton.completion(self._automaton.advance(states, char), least, most)

    def _states(self, part: Text, automaton: Automaton) -> States:
        """Return where the automaton stands; the part that was read last is read on."""
        read, states = part.notes.get(self, (0, automaton.start))
        if read < part.length:
            states = automaton.advance(states, part.text[read:])
            part.notes[self] = (part.length, states)
        return states


def rest_of_one(part: Text, options: Iterable[str], half: bytes) -> str | None:
    """Return the shortest rest of the open string, its quote included, that makes it an option.

    A begun escape is most likely that of a character which JSON cannot write otherwise: a grammar
    escapes no others.
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
    """Return what is to be written of `left`, which has begun with half an escape or character."""
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
    """Return the lowest and the highest code whose character begins with the bytes of UTF-8."""
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
    """Return a string as JSON."""
    written = json_text(text)
    assert written is not None
    return written


def _word(value: object) -> str:
    word = json_text(value)
    assert word is not None
    return word


def escapes_of(begun: str) -> list[tuple[str, str]]:
    """Return what may follow a begun escape (or half of a pair), and the character it makes."""
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

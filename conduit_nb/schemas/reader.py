"""Incremental JSON reader: which values are complete, and which are still open.

Each character is read once, however the text is split. Knows JSON, not schemas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Stage: TypeAlias = Literal["begun", "key", "colon", "value", "inside", "after", "comma"]
"""What an open object or array expects: its first entry or its end ("begun"), the rest of a key,
the colon, a value, the end of the inner value, a comma or its end ("after"), one more entry.
"""

_BLANK = re.compile(r"[ \t\r\n]+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_WORD = re.compile(r"[-+.0-9A-Za-z]+")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_WHOLE_WORD = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(slots=True, eq=False)
class Text:
    """A string. `escape` is the text of an incomplete escape or surrogate pair."""

    start: int
    pieces: list[str] = field(default_factory=list[str])
    length: int = 0
    escape: str = ""
    end: int | None = None
    notes: dict[Any, Any] = field(default_factory=dict[Any, Any])

    @property
    def text(self) -> str:
        """The characters so far."""
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def add(self, piece: str) -> None:
        """Append complete characters."""
        self.pieces.append(piece)
        self.length += len(piece)


@dataclass(slots=True, eq=False)
class Word:
    """A number, true, false or null; `raw` is its text."""

    start: int
    raw: str = ""
    end: int | None = None
    notes: dict[Any, Any] = field(default_factory=dict[Any, Any])


@dataclass(slots=True, eq=False)
class Array:
    """A list; only its last item may be open. `height` is the number of nested levels."""

    start: int
    items: list[Part] = field(default_factory=list["Part"])
    stage: Stage = "begun"
    height: int = 1
    end: int | None = None
    notes: dict[Any, Any] = field(default_factory=dict[Any, Any])


@dataclass(slots=True, eq=False)
class Object:
    """An object; only its last value may be open. `key` is the last key, possibly open.

    Of a duplicate key, `entries` has the first value and `repeats` the others; `is_repeat`: the
    last key is a duplicate. `comma` is the position of the last comma.
    """

    start: int
    entries: dict[str, Part] = field(default_factory=dict[str, "Part"])
    repeats: list[tuple[str, Part]] = field(default_factory=list[tuple[str, "Part"]])
    key: Text | None = None
    is_repeat: bool = False
    comma: int = 0
    stage: Stage = "begun"
    height: int = 1
    end: int | None = None
    notes: dict[Any, Any] = field(default_factory=dict[Any, Any])


@dataclass(slots=True)
class Repeat:
    """An entry with a duplicate key: from the comma before it to its end."""

    comma: int
    key_end: int
    end: int | None = None


Part: TypeAlias = Text | Word | Array | Object
"""A value; `start` and `end` are its positions in the text, `end` is None while it is open.

`notes` is a cache for callers that inspect a value repeatedly.
"""


class JsonReader:
    """Reads one JSON value into `root`, which is None before the value begins.

    `open_parts` are the open values, each inside the one before. `is_broken`: the text is not the
    beginning of JSON, and no more is read. `repeats` are the entries with a duplicate key.
    """

    def __init__(self) -> None:
        self.root: Part | None = None
        self.open_parts: list[Part] = []
        self.is_broken = False
        self.repeats: list[Repeat] = []
        self._read = 0

    @property
    def is_whole(self) -> bool:
        """Whether the value is complete; a number may still continue."""
        if self.is_broken or self.root is None:
            return False
        match self.open_parts:
            case []:
                return True
            case [Word(raw=raw)]:
                return _WHOLE_WORD.fullmatch(raw) is not None
            case _:
                return False

    @property
    def place(self) -> list[str | int]:
        """The keys and indices of the innermost open value."""
        steps: list[str | int] = []
        for part in self.open_parts:
            match part:
                case Object(key=Text() as key):
                    steps.append(key.text)
                case Array(items=[_, *_] as items):
                    steps.append(len(items) - 1)
                case _:
                    pass
        return steps

    def feed(self, text: str) -> None:
        """Read more text."""
        at = 0
        while at < len(text) and not self.is_broken:
            match self.open_parts[-1] if self.open_parts else None:
                case Text() as string:
                    at = self._string(string, text, at)
                case Word() as word:
                    at = self._word(word, text, at)
                case Object(stage="key", key=Text() as key):
                    at = self._string(key, text, at)
                case top:
                    at = self._structure(top, text, at)
        self._read += len(text)

    def _string(self, string: Text, text: str, at: int) -> int:
        """Read plain characters, one escape, or the end of a string; return the next position."""
        if not string.escape and (plain := _PLAIN.match(text, at)):
            string.add(plain[0])
            return plain.end()
        if text[at] == '"' and not string.escape:
            string.end = self._read + at + 1
            self._string_ended(string)
            return at + 1
        return self._escape(string, text, at)

    def _escape(self, string: Text, text: str, at: int) -> int:
        pair = string.escape[:6] if len(string.escape) >= 6 else ""
        begun = string.escape[len(pair) :]
        taken = text[at : at + 6 - len(begun)]
        found = _ESCAPE.match(begun + taken)
        if found is None:
            self.is_broken = _ESCAPE_BEGUN.match(begun + taken) is None
            string.escape = pair + begun + taken
            return at + len(taken)
        unit = _unit(found[0])
        if pair:
            high = _unit(pair)
            if not 0xDC00 <= unit <= 0xDFFF:
                self.is_broken = True
            else:
                string.add(chr(0x10000 + ((high - 0xD800) << 10) + unit - 0xDC00))
                string.escape = ""
        elif 0xD800 <= unit <= 0xDBFF:
            string.escape = found[0]
        elif 0xDC00 <= unit <= 0xDFFF:
            self.is_broken = True
        else:
            string.add(chr(unit))
            string.escape = ""
        return at + found.end() - len(begun)

    def _string_ended(self, string: Text) -> None:
        top = self.open_parts[-1]
        if top is string:
            self._ended()
            return
        assert isinstance(top, Object)
        top.stage = "colon"
        top.is_repeat = string.text in top.entries
        if top.is_repeat:
            self.repeats.append(Repeat(top.comma, string.end or 0))

    def _word(self, word: Word, text: str, at: int) -> int:
        found = _WORD.match(text, at)
        if found:
            word.raw += found[0]
            return found.end()
        if not _WHOLE_WORD.fullmatch(word.raw):
            self.is_broken = True
        word.end = self._read + at
        self._ended()
        return at

    def _structure(self, top: Part | None, text: str, at: int) -> int:
        blank = _BLANK.match(text, at)
        if blank:
            return blank.end()
        char = text[at]
        place = self._read + at
        match top, char:
            case None, _ if self.root is not None:
                self.is_broken = True
            case Object(stage="begun" | "comma"), '"':
                top.key, top.stage = Text(place), "key"
            case Object(stage="colon"), ":":
                top.stage = "value"
            case ((Object(stage="after") | Array(stage="after")), ","):
                top.stage = "comma"
                if isinstance(top, Object):
                    top.comma = place
            case (Object(stage="begun" | "after"), "}") | (Array(stage="begun" | "after"), "]"):
                top.end = place + 1
                self._ended()
            case (None, _) | (Object(stage="value"), _) | (Array(stage="begun" | "comma"), _):
                self._begin(top, char, place)
            case _:
                self.is_broken = True
        return at + 1

    def _begin(self, top: Part | None, char: str, place: int) -> None:
        part: Part
        match char:
            case '"':
                part = Text(place)
            case "[":
                part = Array(place)
            case "{":
                part = Object(place)
            case _ if char == "-" or char in "0123456789tfn":
                part = Word(place, char)
            case _:
                self.is_broken = True
                return
        match top:
            case Object(key=Text() as key):
                if top.is_repeat:
                    top.repeats.append((key.text, part))
                else:
                    top.entries[key.text] = part
                top.stage = "inside"
            case Array():
                top.items.append(part)
                top.stage = "inside"
            case _:
                self.root = part
        self.open_parts.append(part)

    def _ended(self) -> None:
        part = self.open_parts.pop()
        if self.open_parts and isinstance(outer := self.open_parts[-1], Object | Array):
            outer.stage = "after"
            if isinstance(outer, Object) and outer.is_repeat:
                self._repeat_ended(outer, part)
            if isinstance(part, Object | Array):
                outer.height = max(outer.height, part.height + 1)

    def _repeat_ended(self, outer: Object, part: Part) -> None:
        """Set the end of the entry with a duplicate key that ends with `part`."""
        for repeat in reversed(self.repeats):
            if repeat.comma == outer.comma:
                repeat.end = part.end
                return


def without_repeats(text: str) -> str:
    """Return JSON text, complete or cut, without the entries with duplicate keys."""
    kept: list[str] = []
    at = 0
    for repeat in _repeats(text):
        if repeat.comma >= at:  # else it is inside an entry that is left out
            kept.append(text[at : repeat.comma])
            at = len(text) if repeat.end is None else repeat.end
    return "".join([*kept, text[at:]])


def with_renamed_repeats(text: str) -> str:
    """Return JSON text, complete or cut, with duplicate keys renamed."""
    kept: list[str] = []
    at = 0
    for number, repeat in enumerate(_repeats(text), start=2):
        kept += (text[at : repeat.key_end - 1], f' {number}"')
        at = repeat.key_end
    return "".join([*kept, text[at:]])


def _repeats(text: str) -> list[Repeat]:
    reader = JsonReader()
    reader.feed(text)
    return reader.repeats


def _unit(escape: str) -> int:
    """Return the UTF-16 code unit of an escape."""
    if escape[1] == "u":
        return int.from_bytes(bytes.fromhex(escape[2:]))
    return ord(_SHORT_ESCAPES.get(escape[1], escape[1]))

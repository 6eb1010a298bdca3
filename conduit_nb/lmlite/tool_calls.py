"""Calls of functions in a reply: how they are written, read while they arrive, and ended in time.

    <tool_call>
    {"name": "weather", "arguments": {"city":"Paris"}}
    </tool_call>

Models are trained on a format of their own; `CallFormat` is one of the two that are known here, and
what a model is taught by the prompt where it knows neither. A reply is text, or calls, or text and
then calls; with a forced function it is the arguments alone, and the prompt holds what stands
before them.
Imports neither torch nor llguidance.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.reader import JsonReader

MAX_CALLS = 16
"""Calls of one reply. A small model repeats a call for ever where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """How a model writes a call: `begin` name `middle` arguments `end`, more behind `separator`.

    `trigger` is what a call is known by; `is_anywhere` says that text may stand before it.
    """

    trigger: str
    begin: str
    middle: str
    end: str
    separator: str
    is_anywhere: bool

    def head(self, name: str) -> str:
        """Return what stands before the arguments of a call."""
        return f"{self.begin}{name}{self.middle}"


TAGGED = CallFormat(
    trigger="<tool_call>",
    begin='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    end="}\n</tool_call>",
    separator="\n",
    is_anywhere=True,
)
"""Hermes, Qwen, SmolLM."""

BARE = CallFormat(
    trigger='{"name": "',
    begin='{"name": "',
    middle='", "parameters": ',
    end="}",
    separator="; ",
    is_anywhere=False,
)
"""Llama 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallGrammar:
    """What a reply may be that calls functions, of which `functions` has the schemas.

    `prefix` is what of the reply stands in the prompt already. With `record` the text of a reply
    that calls nothing fits that schema; None allows any text.
    """

    format: CallFormat
    functions: tuple[tuple[str, Mapping[str, Any]], ...]
    is_required: bool
    max_calls: int
    prefix: str = ""
    record: Mapping[str, Any] | None = None

    @property
    def is_anywhere(self) -> bool:
        """Whether text may stand before a call; a record is one thing or the other."""
        return self.format.is_anywhere and self.record is None

    def lark(self, servable: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> str:
        """Return the grammar in llguidance's words; `servable` brings schemas into its form.

        A call is a rule that begins with the name, since what stands before it may be in the
        prompt, behind a call, or behind what the call was known by.
        """
        form = self.format
        rules = ["%llguidance {}"]
        for index, (name, schema) in enumerate(self.functions):
            parts = (_quoted(name + form.middle), _json(servable(schema)), _quoted(form.end))
            rules.append(f"call_{index}: {' '.join(parts)}")
        names = " | ".join(f"call_{index}" for index in range(len(self.functions)))
        rules.append(f"call: {names}")
        rules.append(f"more: {_quoted(form.separator + form.begin)} call")
        calls = f"call more{{0,{self.max_calls - 1}}}" if self.max_calls > 1 else "call"
        if self.is_required:
            return "\n".join([*rules, f"start: {_quoted_rest(form.begin, self.prefix)} {calls}"])
        rules.append(f"calls: {_quoted_rest(form.begin, form.trigger)} {calls}")
        if self.record is not None:
            rules.append(f"start: record | {_quoted(form.trigger)} calls")
            rules.append(f"record: {_json(servable(self.record))}")
        elif form.is_anywhere:
            rules.append("start: text | head calls")
            rules.append("text: TEXT")
            rules.append(f"head[lazy]: TEXT {_quoted(form.trigger)}")
            rules.append(r"TEXT: /(.|\n)*/")
        else:
            rules.append(f"start: TEXT | {_quoted(form.trigger)} calls")
            rules.append(rf"TEXT: /(.|\n)*/ & ~/{re.escape(form.trigger)}(.|\n)*/")
        return "\n".join(rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Text of the reply that is no call."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBegin:
    """The call number `index` begins."""

    index: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsPart:
    """A piece of the arguments of the call number `index`, as JSON."""

    index: int
    text: str


CallPart: TypeAlias = TextPart | CallBegin | ArgumentsPart


class CallReader:
    """Reads a reply piece by piece: the text of it, and the calls.

    `state` is where it stands: in text, between the trigger of a call and its arguments, in the
    arguments, or behind them. Text that may be the beginning of a trigger is held back, and so are
    blanks, which mean nothing before a call.
    """

    def __init__(self, form: CallFormat, *, is_anywhere: bool = True, prefix: str = "") -> None:
        self._format = form
        self._is_anywhere = is_anywhere and form.is_anywhere
        self._head = re.compile(
            rf"{re.escape(form.begin)}([^\"]*){re.escape(form.middle)}", re.DOTALL
        )
        self.state: Literal["text", "head", "arguments", "behind"] = "text"
        self.calls = 0
        self.held = ""
        self._has_text = False
        self._depth = 0
        self._in_string = self._is_escaped = False
        self._first = list(self.feed(prefix)) if prefix else []

    def feed(self, text: str) -> Iterator[CallPart]:
        """Yield the parts that are known now; read them all."""
        self.held += text
        while self.held:
            before = (self.state, self.held)
            match self.state:
                case "text":
                    yield from self._text()
                case "head" | "behind":
                    yield from self._heading()
                case "arguments":
                    yield from self._arguments()
            if (self.state, self.held) == before:
                return

    def opening(self) -> list[CallPart]:
        """Return what the prompt holds of the reply already."""
        return self._first

    def end(self) -> Iterator[CallPart]:
        """Yield what was held back, where it is text after all."""
        if self.state == "text" and self.held:
            yield TextPart(text=self.held)
        self.held = ""

    def _text(self) -> Iterator[CallPart]:
        trigger = self._format.trigger
        if not self._is_anywhere:
            is_first = not self._has_text
            if is_first and self.held.startswith(trigger):
                self.state = "head"
            elif not (is_first and trigger.startswith(self.held)):
                self._has_text = True
                text, self.held = self.held, ""
                yield TextPart(text=text)
            return
        at = self.held.find(trigger)
        certain = at if at >= 0 else len(self.held) - _overlap(self.held, trigger)
        text = self.held[:certain].rstrip()
        if at >= 0:
            self.held = self.held[at:]
            self.state = "head"
        else:
            self.held = self.held[len(text) :]
        if text:
            yield TextPart(text=text)

    def _heading(self) -> Iterator[CallPart]:
        found = self._head.search(self.held)
        if found:
            self.held = self.held[found.end() :]
            self.state = "arguments"
            self._depth = 0
            self.calls += 1
            yield CallBegin(index=self.calls - 1, name=found[1])

    def _arguments(self) -> Iterator[CallPart]:
        end = self._end_of_value()
        piece = self.held[:end]
        self.held = self.held[end:]
        if piece:
            yield ArgumentsPart(index=self.calls - 1, text=piece)

    def _end_of_value(self) -> int:
        """Return how much of what is held belongs to the arguments, an object."""
        for at, char in enumerate(self.held):
            if self._is_escaped:
                self._is_escaped = False
            elif self._in_string:
                self._in_string = char != '"'
                self._is_escaped = char == "\\"
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.state = "behind"
                    return at + 1
        return len(self.held)


class CallCloser:
    """Ends a reply with calls in time, as `guided.RecordCloser` ends a record.

    A call that was begun is ended with the shortest arguments that go on from what is there; one
    that could not be ended any more is not begun.
    """

    def __init__(
        self,
        grammar: CallGrammar,
        completers: Mapping[str, Completer],
        record: Completer | None,
        *,
        decode: Callable[[list[int]], bytes],
        encode: Callable[[bytes], list[int]],
    ) -> None:
        self._grammar = grammar
        self._completers = completers
        self._record = record
        self._decode = decode
        self._encode = encode
        self._begin()

    @property
    def is_calling(self) -> bool:
        """Whether what is written now is part of a call."""
        return self._reader.state != "text"

    def admits(self, tokens: list[int], left: int) -> bool:
        """Return whether `left` tokens can end the reply after these; if not, write `closing`."""
        if self._is_lost:
            return True
        self._read(self._decode(tokens))
        closing = self._found()
        if closing is None:
            self._is_lost = True
        elif len(closing) > left and len(self._encode(closing)) > left:
            return False
        self._written.extend(tokens)
        return True

    def closing(self) -> list[int]:
        """Return the tokens that end what was admitted; call it once, at the end."""
        written = self._written
        self._begin()
        self._read(self._decode(written))
        return self._encode(self._found() or b"")

    def _begin(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._reader = CallReader(
            self._grammar.format,
            is_anywhere=self._grammar.is_anywhere,
            prefix=self._grammar.prefix,
        )
        self._json = JsonReader()
        self._name = ""
        self._written: list[int] = []
        self._is_lost = False
        self._take(self._reader.opening())

    def _read(self, written: bytes) -> None:
        self._take(self._reader.feed(self._decoder.decode(written)))

    def _take(self, parts: Iterator[CallPart] | list[CallPart]) -> None:
        for part in parts:
            match part:
                case CallBegin(name=name):
                    self._name, self._json = name, JsonReader()
                case TextPart(text=text) | ArgumentsPart(text=text):
                    if self._reader.calls or self._record:
                        self._json.feed(text)

    def _found(self) -> bytes | None:
        """Return what ends the reply as it stands; None where that is not known."""
        form = self._grammar.format
        half, _ = self._decoder.getstate()
        match self._reader.state:
            case "text" if self._record is not None and not self._reader.held:
                return self._record.closing_of(self._json, half)
            case "text":
                return b""
            case "head":
                return self._shortest_call(self._reader.held)
            case "arguments":
                completer = self._completers.get(self._name)
                rest = completer.closing_of(self._json, half) if completer else None
                return None if rest is None else rest + form.end.encode()
            case "behind":
                held = self._reader.held
                if form.end.startswith(held):  # the last call, as far as it goes
                    return form.end[len(held) :].encode()
                return self._shortest_call(held.removeprefix(form.end), form.separator)

    def _shortest_call(self, begun: str, before: str = "") -> bytes | None:
        """Return the rest of the shortest call that begins like that, with what is before it."""
        form = self._grammar.format
        calls = [
            f"{before}{form.head(name)}{completer.shortest}{form.end}"
            for name, completer in self._completers.items()
        ]
        found = [call[len(begun) :].encode() for call in calls if call.startswith(begun)]
        return min(found, key=len, default=None)


def _overlap(text: str, trigger: str) -> int:
    """Return the length of the longest end of `text` that begins the trigger."""
    for length in range(min(len(text), len(trigger) - 1), 0, -1):
        if text.endswith(trigger[:length]):
            return length
    return 0


def _quoted(text: str) -> str:
    return json.dumps(text)


def _quoted_rest(text: str, begun: str) -> str:
    """Return what follows of a text that was begun; nothing where it is whole."""
    rest = text.removeprefix(begun)
    return _quoted(rest) if rest else ""


def _json(schema: Mapping[str, Any]) -> str:
    compact = {**schema, "x-guidance": {"whitespace_flexible": False}}
    return f"%json {json.dumps(compact)}"

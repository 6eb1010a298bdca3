r"""Regular expressions as automata that complete a text which matches so far.

Takes the form that `patterns.common_regex` returns: characters, classes, non-capturing groups, `|`
and repetition, without anchors.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

MAX_STATES = 20_000
LAST_CODE = 0x10FFFF
PREFERRED = "a0 -_.A"
"""Characters to prefer where several match, in this order."""

Ranges: TypeAlias = tuple[tuple[int, int], ...]
States: TypeAlias = frozenset[int]

_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_COUNT = re.compile(r"\{([0-9]+)(,?)([0-9]*)\}")
_SURROGATES = (0xD800, 0xDFFF)
_ANY: Ranges = ((0, LAST_CODE),)


class TooLargeError(Exception):
    """The expression needs more than MAX_STATES states."""


@dataclass(frozen=True, slots=True)
class _Arc:
    ranges: Ranges
    target: int


class Automaton:
    """Matches whole texts; `is_open_before` and `is_open_after` allow any text before and after.

    Raises TooLargeError where the expression needs more than MAX_STATES states.
    """

    def __init__(
        self, regex: str, *, is_open_before: bool = False, is_open_after: bool = False
    ) -> None:
        self._arcs: list[list[_Arc]] = []
        self._skips: list[list[int]] = []
        start = self._state()
        at = self._looped(start) if is_open_before else start
        parser = _Parser(regex, self)
        at = parser.branches(at)
        assert parser.at == len(regex), f"not in the common form: {regex}"
        self._end = self._looped(at) if is_open_after else at
        self.start = self._closed({start})
        self._steps = self._steps_to_end()
        self.longest = max((steps for steps, _, _ in self._steps.values()), default=0)
        self._stretched = lru_cache(64)(self._stretch)

    def advance(self, states: States, text: str) -> States:
        """Return the states after reading `text`; empty where it does not match."""
        for char in text:
            code = ord(char)
            states = self._closed(
                {
                    arc.target
                    for state in states
                    for arc in self._arcs[state]
                    if any(low <= code <= high for low, high in arc.ranges)
                }
            )
        return states

    def matches(self, states: States) -> bool:
        """Return whether the text read so far is a whole match."""
        return self._end in states

    def choices(self, states: States, low: int, high: int) -> list[str]:
        """Return a character with a code from `low` to `high` for each transition from `states`."""
        found = {
            preferred(_common(arc.ranges, low, high))
            for state in states
            for arc in self._arcs[state]
        }
        return sorted(char for char in found if char)

    def completion(self, states: States, min_length: int, max_length: int | None) -> str | None:
        """Return the shortest completion of `min_length` to `max_length` characters, or None."""
        known = [(self._steps[state], state) for state in states if state in self._steps]
        if not known:
            return None
        (steps, _, _), state = min(known)
        if steps < min_length:
            return self._stretched(states, min_length, max_length)
        if max_length is not None and steps > max_length:
            return None
        chars: list[str] = []
        while state != self._end:
            _, char, state = self._steps[state]
            chars.append(char)
        return "".join(chars)

    def _state(self) -> int:
        if len(self._arcs) == MAX_STATES:
            raise TooLargeError
        self._arcs.append([])
        self._skips.append([])
        return len(self._arcs) - 1

    def new(self, *, after: int | None = None) -> int:
        """Add a state, reached from `after` without reading a character."""
        state = self._state()
        if after is not None:
            self._skips[after].append(state)
        return state

    def skip(self, origin: int, target: int) -> None:
        """Add a transition from `origin` to `target` that reads no character."""
        self._skips[origin].append(target)

    def arc(self, origin: int, ranges: Ranges) -> int:
        """Add a state, reached from `origin` by one character in `ranges`."""
        target = self._state()
        self._arcs[origin].append(_Arc(ranges, target))
        return target

    def _looped(self, origin: int) -> int:
        state = self.new(after=origin)
        self._arcs[state].append(_Arc(_ANY, state))
        return state

    def _closed(self, states: set[int]) -> States:
        closed = set(states)
        waiting = list(states)
        while waiting:
            for state in self._skips[waiting.pop()]:
                if state not in closed:
                    closed.add(state)
                    waiting.append(state)
        return frozenset(closed)

    def _steps_to_end(self) -> dict[int, tuple[int, str, int]]:
        """Return the shortest way to the end from each state: its length and its first step."""
        back: dict[int, list[tuple[int, str, int]]] = {}
        for origin, arcs in enumerate(self._arcs):
            for arc in arcs:
                if char := preferred(arc.ranges):
                    back.setdefault(arc.target, []).append((1, char, origin))
            for target in self._skips[origin]:
                back.setdefault(target, []).append((0, "", origin))
        steps = {self._end: (0, "", self._end)}
        waiting = [(0, self._end)]
        while waiting:
            count, target = heapq.heappop(waiting)
            if steps[target][0] < count:
                continue
            for cost, char, origin in back.get(target, []):
                if origin not in steps or count + cost < steps[origin][0]:
                    steps[origin] = (count + cost, char, target)
                    heapq.heappush(waiting, (count + cost, origin))
        return steps

    def _stretch(self, states: States, min_length: int, max_length: int | None) -> str | None:
        """Return the shortest completion where the overall shortest is below `min_length`."""
        limit = min_length + len(self._arcs) if max_length is None else max_length
        layers: list[dict[int, tuple[int, str]]] = []
        here: States = states
        for count in range(limit + 1):
            if count >= min_length and self._end in here:
                return self._traced(layers, count)
            came: dict[int, tuple[int, str]] = {}
            for state in sorted(here):
                for arc in self._arcs[state]:
                    char = preferred(arc.ranges)
                    if not char:
                        continue
                    for target in self._closed({arc.target}):
                        came.setdefault(target, (state, char))
            if not came:
                return None
            layers.append(came)
            here = frozenset(came)
        return None

    def _traced(self, layers: list[dict[int, tuple[int, str]]], count: int) -> str:
        state = self._end
        chars: list[str] = []
        for came in reversed(layers[:count]):
            state, char = came[state]
            chars.append(char)
        return "".join(reversed(chars))


class _Parser:
    """Parses an expression from left to right and adds its states to the automaton."""

    def __init__(self, regex: str, automaton: Automaton) -> None:
        self.at: int = 0
        self._regex = regex
        self._automaton = automaton

    def branches(self, origin: int) -> int:
        """Parse up to the end or a closing bracket; return the state after it."""
        end = self._automaton.new()
        while True:
            state = self._automaton.new(after=origin)
            while self.at < len(self._regex) and self._regex[self.at] not in "|)":
                state = self._repeated(state)
            self._automaton.skip(state, end)
            if self.at == len(self._regex) or self._regex[self.at] == ")":
                return end
            self.at += 1

    def _repeated(self, origin: int) -> int:
        """Parse one atom and its quantifier; the atom is parsed again for each repetition."""
        begin = self.at
        state = self._atom(origin)
        after = self.at
        min_count, max_count = self._quantifier()
        behind = self.at
        automaton = self._automaton
        if (min_count, max_count) == (1, 1):
            return state
        state = origin
        for _ in range(min_count):
            self.at = begin
            state = self._atom(automaton.new(after=state))
        if max_count is None:
            self.at = begin
            loop = automaton.new(after=state)
            automaton.skip(self._atom(automaton.new(after=loop)), loop)
            state = loop
        else:
            end = automaton.new(after=state)
            for _ in range(max_count - min_count):
                self.at = begin
                state = self._atom(automaton.new(after=state))
                automaton.skip(state, end)
            state = end
        assert self.at in (after, behind)
        self.at = behind
        return automaton.new(after=state)

    def _quantifier(self) -> tuple[int, int | None]:
        match self._regex[self.at : self.at + 1]:
            case "*":
                self.at += 1
                return 0, None
            case "+":
                self.at += 1
                return 1, None
            case "?":
                self.at += 1
                return 0, 1
            case "{":
                found = _COUNT.match(self._regex, self.at)
                assert found, "the common form has a count in braces"
                self.at = found.end()
                low, comma, high = found.groups()
                return int(low), int(high) if high else (None if comma else int(low))
            case _:
                return 1, 1

    def _atom(self, origin: int) -> int:
        if self._regex.startswith("(?:", self.at):
            self.at += 3
            end = self.branches(origin)
            self.at += 1
            return end
        if self._regex[self.at] == "[":
            return self._automaton.arc(origin, self._char_class())
        code = self._char()
        return self._automaton.arc(origin, ((code, code),))

    def _char_class(self) -> Ranges:
        self.at += 1
        is_negated = self._regex[self.at] == "^"
        self.at += is_negated
        ranges: list[tuple[int, int]] = []
        while self._regex[self.at] != "]":
            low = high = self._char()
            if self._regex[self.at] == "-" and self._regex[self.at + 1] != "]":
                self.at += 1
                high = self._char()
            ranges.append((low, high))
        self.at += 1
        return _complement(ranges) if is_negated else tuple(ranges)

    def _char(self) -> int:
        char = self._regex[self.at]
        self.at += 1
        if char != "\\":
            return ord(char)
        char = self._regex[self.at]
        self.at += 1
        if char == "x":
            self.at += 2
            return int(self._regex[self.at - 2 : self.at], 16)
        return ord(_CONTROLS.get(char, char))


def preferred(ranges: Ranges) -> str:
    """Return the most common character in `ranges`, "" where none may stand in text."""
    for char in PREFERRED:
        if any(low <= ord(char) <= high for low, high in ranges):
            return char
    rank = sorted(_common(ranges, 0x21, 0x7E)) + sorted(ranges)
    for low, high in rank:
        for code in range(low, min(high, low + 2) + 1):
            if chr(code) not in '"\\' and code > 0x20 and not _is_surrogate(code):
                return chr(code)
    for low, high in sorted(ranges):
        code = _SURROGATES[1] + 1 if _is_surrogate(low) else low
        if code <= high:
            return chr(code)
    return ""


def _common(ranges: Ranges, low: int, high: int) -> Ranges:
    return tuple(
        (max(one, low), min(other, high)) for one, other in ranges if one <= high and other >= low
    )


def _complement(ranges: list[tuple[int, int]]) -> Ranges:
    rest: list[tuple[int, int]] = []
    begin = 0
    for low, high in sorted(ranges):
        if low > begin:
            rest.append((begin, low - 1))
        begin = max(begin, high + 1)
    if begin <= LAST_CODE:
        rest.append((begin, LAST_CODE))
    return tuple(rest)


def _is_surrogate(code: int) -> bool:
    return _SURROGATES[0] <= code <= _SURROGATES[1]

"""Tokens to text while they arrive: whole characters only, and nothing of a stop string.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Text of one reply, piece by piece; the pieces together are `decode` of all its tokens.

    A character may be spread over tokens, and a tokenizer may treat the first token of a text in
    its own way. So tokens are decoded behind the last ones that were emitted (the context), and
    text that ends in a broken character waits until it is whole or the reply is over.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._context: list[int] = []
        self._window: list[int] = []
        self._emitted = 0

    def add(self, tokens: Sequence[int]) -> str:
        """Return the text that is certain now and was not emitted yet."""
        self._window.extend(tokens)
        text = self._window_text()
        whole = text.rstrip(REPLACEMENT)
        piece = whole[self._emitted :]
        if len(whole) == len(text) and text:
            self._context, self._window, self._emitted = self._window, [], 0
        else:
            self._emitted = max(self._emitted, len(whole))
        return piece

    def flush(self) -> str:
        """Return the rest, broken characters included; nothing may be added after."""
        return self._window_text()[self._emitted :]

    def _window_text(self) -> str:
        before = self._decode(self._context) if self._context else ""
        return self._decode([*self._context, *self._window])[len(before) :]


class StopStrings:
    """Ends a text before the first of `stops` that is complete, in whatever pieces it arrives.

    With `includes` the text ends behind it.
    """

    def __init__(self, stops: Sequence[str], *, includes: bool = False) -> None:
        self._stops = tuple(stops)
        self._includes = includes
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """Return the text that is certain now, and whether a stop string was reached."""
        if not self._stops:
            return text, False
        self._held += text
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            end, at = min(found)
            certain, self._held = self._held[: end if self._includes else at], ""
            return certain, True
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        certain, self._held = self._held[:cut], self._held[cut:]
        return certain, False

    def passed(self, text: str) -> str:
        """Return text in which no stop string counts, and what was held back before it."""
        return self.flush() + text

    def flush(self) -> str:
        """Return what was held back as a possible beginning of a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

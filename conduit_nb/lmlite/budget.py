"""How a guided reply ends in time: what is open is closed with the tokens that are left.

    closer.admits(tokens, left)   # may they be written, and `left` tokens still end the reply?
    closer.closing()              # else these end it

A token after which the record could not be closed any more is not written; what closes the record
takes its place. So a reply is valid whatever its budget, and untouched where the budget suffices.
Layer 3: no torch.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from llguidance import LLTokenizer

from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.reader import JsonReader


class Closer:
    """Follows one reply from its begin. Cheap while there is much left: it only reads along."""

    def __init__(self, completer: Completer, tokenizer: LLTokenizer) -> None:
        self._completer = completer
        self._tokenizer = tokenizer
        self._reader = JsonReader()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._written: list[int] = []
        self._closing: bytes | None = None
        self._is_lost = False

    def admits(self, tokens: Sequence[int], left: int) -> bool:
        """Read on where `left` tokens can close the record after these; else ask for `closing`.

        Where it is not known how to close it, everything is admitted, and the limit cuts it.
        """
        if self._is_lost:
            return True
        self._reader.feed(self._decoder.decode(self._tokenizer.decode_bytes(list(tokens))))
        closing = None
        if self._completer.most_bytes(self._reader) > left:
            closing = self._found()
            self._is_lost = closing is None
            if closing is not None and not self._fits(closing, left):
                return False
        self._written.extend(tokens)
        self._closing = closing
        return True

    def closing(self) -> list[int]:
        """Return the tokens that close what was admitted; call it once, at the end."""
        if self._closing is None:
            self._reader = JsonReader()
            self._decoder.reset()
            written = self._tokenizer.decode_bytes(self._written)
            self._reader.feed(self._decoder.decode(written))
            self._closing = self._found()
        return self._tokenizer.tokenize_bytes(self._closing or b"")

    def _found(self) -> bytes | None:
        half, _ = self._decoder.getstate()
        return self._completer.closing_of(self._reader, half)

    def _fits(self, closing: bytes, left: int) -> bool:
        # A token stands for at least one byte.
        return len(closing) <= left or len(self._tokenizer.tokenize_bytes(closing)) <= left

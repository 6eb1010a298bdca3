"""How sure a reply is of each value that it chose from a few: enums, booleans, literals.

The figure is the product of the masked probabilities of the tokens that decide the value: what the
model gave to this value, given all that stands before it, among those that the grammar allows.
Tokens that had to come count 1. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from conduit_nb.lmlite.logprobs import SampledToken, Vocabulary
from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.reader import JsonReader, Part, Word


class ConfidenceTracker:
    """Holds how likely each token of one reply was, until its values are known."""

    def __init__(self, completer: Completer, vocabulary: Vocabulary) -> None:
        self._completer = completer
        self._vocabulary = vocabulary
        self._written = bytearray()
        self._ends: list[int] = []
        self._logprobs: list[float] = []
        self._closed_from: int | None = None

    def add(self, chosen: Sequence[SampledToken], *, is_closing: bool) -> None:
        """Add tokens that were written; with `is_closing` the model did not choose them."""
        if is_closing and self._closed_from is None:
            self._closed_from = len(self._written)
        for one in chosen:
            self._written += self._vocabulary.decode_bytes([one.token])
            self._ends.append(len(self._written))
            self._logprobs.append(one.logprob)

    def confidences(self) -> dict[str, float]:
        """Return the confidence in each chosen value, by JSON pointer; those not chosen have none.

        A value that a limit cut, or that was written only to close the record, is not chosen.
        """
        text = self._written.decode(errors="replace")
        reader = JsonReader()
        reader.feed(text)
        byte_at = [0, *itertools.accumulate(len(char.encode()) for char in text)]
        limit = len(self._written) if self._closed_from is None else self._closed_from
        confidences: dict[str, float] = {}
        for pointer, part in self._completer.choices(reader):
            start, end = byte_at[part.start], byte_at[_decided(part, len(text))]
            if end <= limit:
                confidences[pointer] = math.exp(min(self._logprob(start, end), 0.0))
        return confidences

    def _logprob(self, start: int, end: int) -> float:
        """Return the sum over the tokens that have a byte between the two."""
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, end)
        return sum(self._logprobs[first : last + 1])


def _decided(part: Part, length: int) -> int:
    """Return where it is known which value it is: a number ends only with what follows it."""
    assert part.end is not None
    is_number = isinstance(part, Word) and part.raw[0] not in "tfn"
    return min(part.end + is_number, length)

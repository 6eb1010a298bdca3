"""Ends endless repetition: which token to write when a guided reply only repeats itself.

A small model that writes JSON may fall into a cycle that the grammar allows for ever (the same
file again and again, a number of endless zeros) and would fill its whole context with it. Once the
end of a reply is one piece many times over, the guard closes what the cycle runs in: the string,
the number or the list. Only guided replies are watched; text that does not cycle is never touched.
Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MIN_REPEATS = 4
MIN_CHARACTERS = 240
"""So much of the reply must be repetition, and so often; honest lists are rarely so dull."""

MAX_CYCLE = 2000
TAIL = 40
CLOSING = ('"', "]", "}", ",")
ESCAPED = re.compile(r"\\.", re.DOTALL)


class RepetitionGuard:
    """Which single-character tokens of one model end a string, a list, an object, a value."""

    def __init__(self, token_to_id: Callable[[str], int | None]) -> None:
        found = {character: token_to_id(character) for character in CLOSING}
        self._tokens: Mapping[str, int] = {
            character: token for character, token in found.items() if token is not None
        }

    def escape_token(self, text: str, forbidden: NDArray[np.bool_]) -> int | None:
        """Return the token to write now, None where `text` does not loop or cannot leave yet.

        `forbidden` is `[vocab]`: true where the grammar allows no such token.
        """
        cycle = cycle_of(text)
        if cycle is None:
            return None
        if '"' not in ESCAPED.sub("", cycle):  # inside one string, number or list of numbers
            return self._first_allowed(CLOSING, forbidden)
        match cycle[0]:  # the character that would go on with the cycle
            case '"' | "}":  # alone, so that the next choice comes before the list goes on
                return self._first_allowed(cycle[0], forbidden)
            case "," | "]":
                return self._first_allowed("]}", forbidden)
            case _:
                return None

    def _first_allowed(self, characters: Sequence[str], forbidden: NDArray[np.bool_]) -> int | None:
        for character in characters:
            token = self._tokens.get(character)
            if token is not None and not forbidden[token]:
                return token
        return None


def cycle_of(text: str) -> str | None:
    """Return the piece that `text` ends with many times over; None where it does not."""
    if len(text) < MIN_CHARACTERS:
        return None
    tail = text[-TAIL:]
    before = text.rfind(tail, 0, len(text) - 1)
    # The pieces of a long cycle, a list's items for one, may end alike: the end of the last that
    # ends so need not be a whole cycle ago.
    while before >= 0 and (length := len(text) - TAIL - before) <= MAX_CYCLE:
        span = max(MIN_REPEATS, -(-MIN_CHARACTERS // length)) * length
        if span > len(text):
            return None
        if text[-span:-length] == text[length - span :]:
            return text[-length:]
        before = text.rfind(tail, 0, before + TAIL - 1)
    return None

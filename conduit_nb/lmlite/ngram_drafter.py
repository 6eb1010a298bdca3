"""Drafts for speculative decoding by n-gram lookup: what followed the last tokens the time before.

Records copy from what they are made of, and small models repeat themselves. A guess is read in
the same step as the row's next token; where the model chooses what was guessed, the row is that
much further, and the text is the same as without guesses in any case.
Layer 3: no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LENGTHS = (3, 2)
"""How many of the last tokens must have stood together before; the longer is looked for first."""

LONGEST = 8
"""Up to so many tokens a step of one row costs on a CPU what it costs with one."""

FIRST_RATE = 0.5
MEMORY = 0.15
"""How much of its rate a row forgets with each guess that was right or wrong."""

DEAREST = 0.55
DEAREST_ROWS = 16
"""A token more costs what `DEAREST` of a row's step of its own does, among so many rows or more.

Measured on two cores with 135M parameters: among 1, 8 and 32 rows 0.05, 0.3 and 0.55 of it.
"""


class NgramDrafter:
    """Guesses for one row, and learns from what came how far to trust its guesses."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._known = 0
        self._guess: list[int] = []
        self._rate = FIRST_RATE

    def draft(self, tokens: Sequence[int], *, rows: int, most: int) -> list[int]:
        """Return what to read behind `tokens`, in a step of so many rows: at most `most` tokens.

        `tokens` are those of the last time and what came since.
        """
        self._learn(tokens)
        self._index(tokens)
        self._guess = self._find(tokens)
        return self._guess[: min(most, self._trusted(rows))]

    def _learn(self, tokens: Sequence[int]) -> None:
        """Compare the last guess with what came, also where it was not read."""
        came = tokens[self._known :]
        for guessed, token in zip(self._guess, came, strict=False):
            is_right = guessed == token
            self._rate += MEMORY * (is_right - self._rate)
            if not is_right:
                return

    def _index(self, tokens: Sequence[int]) -> None:
        """Note what stands before each token; what follows the last ones is not known yet."""
        for length in LENGTHS:
            for end in range(max(self._known, length), len(tokens)):
                self._ends[tuple(tokens[end - length : end])] = end
        self._known = len(tokens)

    def _find(self, tokens: Sequence[int]) -> list[int]:
        for length in LENGTHS:
            end = self._ends.get(tuple(tokens[-length:]))
            if end is not None:  # what follows may run into the guess itself, and goes on there
                return [tokens[end + at % (len(tokens) - end)] for at in range(LONGEST)]
        return []

    def _trusted(self, rows: int) -> int:
        """Return how many tokens are worth reading: the last is right often enough to pay."""
        price = DEAREST * min(rows / DEAREST_ROWS, 1.0)
        if self._rate <= price:
            return 0
        return min(int(math.log(price) / math.log(self._rate)), LONGEST)
